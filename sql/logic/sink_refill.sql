-- Purpose: filling a sink from the step rows: at a change of tier, after a restart, after a sweep was asked for.

-- Returns: ready steps as the tables have them, older runs first. For claims while the dispatcher is being refilled.
CREATE OR REPLACE FUNCTION millrace_internal.ready_in_tables(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer)
RETURNS TABLE (run_id bigint, step_no integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.run_id, c.step_no
    FROM (SELECT s.run_id, s.step_no, h.capacity, millrace_internal.effective_priority(r.priority, d.priority) AS priority, d.rank,
                 row_number() OVER (PARTITION BY d.handler_id ORDER BY millrace_internal.effective_priority(r.priority, d.priority), s.run_id, d.rank DESC, s.step_no) AS nth
          FROM (SELECT * FROM millrace_internal.run r WHERE r.finished_at IS NULL AND r.state = 1 AND r.shard = in_shard) r
          JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.shard = in_shard AND s.state = 2
          JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
          JOIN unnest(in_handlers, capacities) h (handler_id, capacity) ON h.handler_id = d.handler_id
          WHERE d.queue_id = ANY (in_queues)) c
    WHERE c.nth <= c.capacity
    ORDER BY c.priority, c.run_id, c.rank DESC, c.step_no
    LIMIT max_steps
$$;
COMMENT ON FUNCTION millrace_internal.ready_in_tables(smallint, integer[], integer[], integer[], integer) IS
'Candidates read from the runs that are alive: what claims use until the sink is filled.';

-- Pushes every ready step of every run that is alive; a sink that knows it already takes no notice.
CREATE OR REPLACE FUNCTION millrace_internal.sink_refill()
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    tier_now text := CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END;
    pushed   bigint := 0;
    batch    record;
    after_id bigint := -1;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.sink_refill'));
    IF tier_now = 'dispatcher' AND EXISTS (SELECT FROM millrace_internal.ready) THEN
        DELETE FROM millrace_internal.ready;
    END IF;
    LOOP
        SELECT array_agg(s.run_id) FILTER (WHERE s.run_id IS NOT NULL) AS runs, array_agg(s.step_no) FILTER (WHERE s.run_id IS NOT NULL) AS steps,
               array_agg(d.queue_id) FILTER (WHERE s.run_id IS NOT NULL) AS queues, array_agg(d.handler_id) FILTER (WHERE s.run_id IS NOT NULL) AS handlers,
               array_agg(millrace_internal.effective_priority(r.priority, d.priority)) FILTER (WHERE s.run_id IS NOT NULL) AS priorities,
               array_agg(r.tenant_id) FILTER (WHERE s.run_id IS NOT NULL) AS tenants, array_agg(d.rank) FILTER (WHERE s.run_id IS NOT NULL) AS ranks, max(r.last_id) AS last_id
        INTO batch
        FROM (SELECT alive.*, max(alive.run_id) OVER () AS last_id
              FROM (SELECT r.* FROM millrace_internal.run r WHERE r.finished_at IS NULL AND r.run_id > after_id ORDER BY r.run_id LIMIT 1000) alive) r
        LEFT JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.shard = r.shard AND s.state = 2
        LEFT JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no;
        EXIT WHEN batch.last_id IS NULL;
        after_id := batch.last_id;
        IF batch.runs IS NOT NULL THEN
            PERFORM millrace_internal.sink_push(0::smallint, batch.runs, batch.steps, batch.queues, batch.handlers,
                                                batch.priorities, batch.tenants, batch.ranks);
            pushed := pushed + cardinality(batch.runs);
        END IF;
    END LOOP;
    INSERT INTO millrace_internal.sink (shard, tier) VALUES (0, tier_now)
    ON CONFLICT (shard) DO UPDATE SET tier = excluded.tier WHERE sink.tier <> excluded.tier;
    RETURN pushed;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_refill() IS
'Tells the present tier''s sink of all ready steps. Time in the number of runs that are alive. Tables changed: ready, sink. Locks: an advisory one.';

-- On the plain tier: has the dispatcher held the ready steps until the last restart? Then they are in no table yet.
CREATE OR REPLACE FUNCTION millrace_internal.sink_ensure()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT millrace_internal.dispatcher_attached()
       AND NOT EXISTS (SELECT FROM millrace_internal.sink s WHERE s.shard = 0 AND s.tier = 'plain') THEN
        PERFORM millrace_internal.sink_refill();
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_ensure() IS 'Fills the table `ready` after a change of tier; the dispatcher is refilled by the keeper.';
