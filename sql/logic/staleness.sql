-- Purpose: steps that have been in their state for longer than somebody has said they should.

-- Arguments: state  waiting, ready or running; queue  null: all queues that have no threshold of their own; threshold  null: none any more
CREATE OR REPLACE FUNCTION millrace.set_staleness(state text, queue text DEFAULT NULL, threshold interval DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_state smallint := (CASE set_staleness.state WHEN 'waiting' THEN 1 WHEN 'ready' THEN 2 WHEN 'running' THEN 4 END)::smallint;
    in_queue integer;
BEGIN
    IF in_state IS NULL THEN
        PERFORM millrace_internal.fail('MR001', format('there is no threshold for the state "%s"', coalesce(set_staleness.state, 'null')), NULL, 'States with a threshold: waiting, ready, running.');
    ELSIF threshold <= interval '0' THEN
        PERFORM millrace_internal.fail('MR001', format('the threshold %s is no time at all', threshold), NULL, 'Leave it out to have none.');
    ELSIF set_staleness.queue = '' OR octet_length(set_staleness.queue) > 200 THEN
        PERFORM millrace_internal.fail('MR001', 'the queue has no name of 1 to 200 bytes');
    END IF;
    in_queue := CASE WHEN set_staleness.queue IS NULL THEN 0 ELSE (millrace_internal.queue_ids(ARRAY[set_staleness.queue]))[1] END;
    IF threshold IS NULL THEN
        DELETE FROM millrace_internal.staleness t WHERE t.state = in_state AND t.queue_id = in_queue;
    ELSE
        INSERT INTO millrace_internal.staleness AS t (state, queue_id, threshold) VALUES (in_state, in_queue, set_staleness.threshold)
        ON CONFLICT ON CONSTRAINT staleness_pkey DO UPDATE SET threshold = excluded.threshold;
    END IF;
END $$;
COMMENT ON FUNCTION millrace.set_staleness(text, text, interval) IS
'From when on a step that is waiting, ready or running counts as stale (view stale_steps): in one queue, or in all that have no threshold of their own. Without a threshold: never.
Errors: MR001. Tables changed: staleness, queue.';

CREATE OR REPLACE VIEW millrace.staleness WITH (security_invoker) AS
SELECT millrace_internal.step_state_name(t.state) AS state, q.name AS queue, t.threshold
FROM millrace_internal.staleness t LEFT JOIN millrace_internal.queue q USING (queue_id);
COMMENT ON VIEW millrace.staleness IS 'How long a step may be in its state; queue null: in all queues that have no threshold of their own.';

-- A back-off or delay began with the event that tells of it.
CREATE OR REPLACE FUNCTION millrace_internal.waiting_since(in_run_id bigint, in_step_no integer)
RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.at FROM millrace_internal.event e WHERE e.run_id = in_run_id AND e.step_no = in_step_no AND e.kind = 9 ORDER BY e.event_id DESC LIMIT 1
$$;
COMMENT ON FUNCTION millrace_internal.waiting_since(bigint, integer) IS 'When a waiting step began to wait.';

CREATE OR REPLACE VIEW millrace.stale_steps WITH (security_invoker) AS
SELECT s.run_id, w.name AS workflow, s.step_no, d.key, millrace_internal.step_state_name(s.state) AS state, q.name AS queue, d.handler,
       i.since, millrace_internal.clock() - i.since AS age, t.threshold, nullif(s.agent_id, 0) AS agent_id
-- nothing is read where there is no threshold
FROM (SELECT a.run_id FROM (SELECT count(*) AS n FROM millrace_internal.staleness) any_threshold
      CROSS JOIN LATERAL millrace_internal.runs_alive(-1, 9223372036854775807) a
      WHERE any_threshold.n > 0 AND a.state = 1 OFFSET 0) a
JOIN millrace_internal.run r ON r.run_id = a.run_id AND r.shard = (a.run_id & 255)
JOIN millrace_internal.version v ON v.version_id = r.version_id
JOIN millrace_internal.workflow w ON w.workflow_id = v.workflow_id
JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.shard = r.shard AND s.state IN (1, 2, 4, 5)
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
JOIN millrace_internal.queue q ON q.queue_id = d.queue_id
CROSS JOIN LATERAL (SELECT t.threshold FROM millrace_internal.staleness t
                    WHERE t.state = CASE s.state WHEN 5 THEN 1 ELSE s.state END AND t.queue_id IN (0, d.queue_id) ORDER BY t.queue_id DESC LIMIT 1) t
CROSS JOIN LATERAL (SELECT CASE s.state WHEN 1 THEN millrace_internal.waiting_since(s.run_id, s.step_no) WHEN 2 THEN s.ready_at ELSE s.started_at END AS since) i
WHERE i.since < millrace_internal.clock() - t.threshold;
COMMENT ON VIEW millrace.stale_steps IS 'Steps of running runs that have been in their state for longer than millrace.set_staleness allows. Time in what is alive, none where nothing was set.';
