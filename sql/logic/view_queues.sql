-- Purpose: what waits where, who works, and the dispatcher.

-- Returns: ready steps by queue and handler, as the present tier's sink holds them. Bounded by keys on the dispatcher tier,
-- by what waits on the plain tier.
CREATE OR REPLACE FUNCTION millrace_internal.sink_depths()
RETURNS TABLE (queue_id integer, handler_id integer, depth bigint, oldest_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        RETURN QUERY SELECT d.queue_id, d.handler_id, d.depth, d.oldest_pushed_at FROM millrace_internal.dispatcher_stats() d WHERE d.depth > 0;
    ELSE
        RETURN QUERY SELECT g.queue_id, g.handler_id, g.n,
            (SELECT s.ready_at FROM millrace_internal.step s WHERE s.run_id = g.oldest AND s.state = 2 ORDER BY s.ready_at LIMIT 1)
        FROM (SELECT r.queue_id, r.handler_id, count(*) AS n, min(r.run_id) AS oldest FROM millrace_internal.ready r GROUP BY 1, 2) g;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_depths() IS 'What the sink holds, by queue and handler.';

-- Returns: running steps by queue and handler, read from the receipts.
CREATE OR REPLACE FUNCTION millrace_internal.running_steps()
RETURNS TABLE (queue_id integer, handler_id integer, running bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.queue_id, d.handler_id, count(*)
    FROM millrace_internal.receipt r
    CROSS JOIN LATERAL unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = r.shard AND s.state = 4 AND s.token = u.token
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION millrace_internal.running_steps() IS 'Running steps by queue and handler. Time in what runs.';

CREATE OR REPLACE VIEW millrace.queues WITH (security_invoker) AS
SELECT q.name AS queue, h.name AS handler, coalesce(d.depth, 0) AS depth, millrace_internal.clock() - d.oldest_at AS oldest_age,
       coalesce(n.running, 0) AS running,
       (SELECT count(*) FROM millrace_internal.agent a
        WHERE a.lease_expires_at > millrace_internal.clock() AND k.queue_id = ANY (a.queues) AND k.handler_id = ANY (a.handlers)) AS agents
FROM (SELECT queue_id, handler_id FROM millrace_internal.sink_depths()
      UNION SELECT queue_id, handler_id FROM millrace_internal.running_steps()) k
JOIN millrace_internal.queue q USING (queue_id)
JOIN millrace_internal.handler h USING (handler_id)
LEFT JOIN millrace_internal.sink_depths() d USING (queue_id, handler_id)
LEFT JOIN millrace_internal.running_steps() n USING (queue_id, handler_id);
COMMENT ON VIEW millrace.queues IS 'Queues and handlers where something waits or runs: how many wait, how old the oldest is, how many run, how many agents serve them.';

CREATE OR REPLACE VIEW millrace.agents WITH (security_invoker) AS
SELECT a.agent_id, a.name,
       CASE WHEN a.lease_expires_at > millrace_internal.clock() THEN 'alive' ELSE 'lost' END AS state,
       ARRAY(SELECT q.name FROM millrace_internal.queue q WHERE q.queue_id = ANY (a.queues) ORDER BY 1) AS queues,
       ARRAY(SELECT h.name FROM millrace_internal.handler h WHERE h.handler_id = ANY (a.handlers) ORDER BY 1) AS handlers,
       a.lease_expires_at, a.registered_at, a.seen_at, pg_catalog.pg_get_userbyid(a.registered_by) AS registered_by, a.protocol,
       (SELECT coalesce(sum(r.open), 0) FROM millrace_internal.receipt r WHERE r.agent_id = a.agent_id) AS held
FROM millrace_internal.agent a;
COMMENT ON VIEW millrace.agents IS 'Registered agents, until a day after their lease is over. held: steps they have not settled.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_status()
RETURNS TABLE (tier text, state text, depth bigint, popped bigint, watermarks bigint, overflowed boolean, needs_sweep boolean,
               hits bigint, misses bigint, stale bigint, dropped bigint, refills bigint, sweeps bigint, wakes bigint,
               entries_used integer, entries_max integer, memory_bytes bigint, databases integer, waker_pid integer, keeper_pid integer)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END, d.*
    FROM millrace_internal.dispatcher_state() d
$$;
COMMENT ON FUNCTION millrace_internal.dispatcher_status() IS 'The dispatcher of this database.';

CREATE OR REPLACE VIEW millrace.dispatcher WITH (security_invoker) AS SELECT * FROM millrace_internal.dispatcher_status();
COMMENT ON VIEW millrace.dispatcher IS
'The tier in force and, with the library preloaded, the state of its shared memory and workers.
depth, popped: steps that wait, and that transactions hold. watermarks: tenants under a queue and handler whose later steps are in the tables alone, for want of room;
overflowed: steps are there for which there was no place even for a watermark. hits: steps popped; misses: claims that had to read the tables;
stale: popped and no longer ready; dropped: steps that were left in the tables; refills: of tenants; sweeps: of everything.';
