-- Purpose: runs, their progress, and the log. Counts are taken from a run's own steps when they are asked for: listing
-- runs costs time in the runs that are shown, not in those that are stored. Order by run_id, which grows with time.

CREATE OR REPLACE FUNCTION millrace_internal.run_tally(in_run_id bigint, OUT completed integer, OUT failed integer, OUT skipped integer, OUT cancelled integer,
    OUT running integer, OUT ready integer, OUT waiting integer, OUT started_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT count(*) FILTER (WHERE s.state = 10)::integer, count(*) FILTER (WHERE s.state = 11)::integer, count(*) FILTER (WHERE s.state IN (12, 14))::integer,
           count(*) FILTER (WHERE s.state = 13)::integer, count(*) FILTER (WHERE s.state = 4)::integer, count(*) FILTER (WHERE s.state IN (2, 3))::integer,
           count(*) FILTER (WHERE s.state IN (1, 5))::integer, min(s.started_at)
    FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.shard = (in_run_id & 255)
$$;
COMMENT ON FUNCTION millrace_internal.run_tally(bigint) IS 'Steps of a run by state, and its first start.';

CREATE OR REPLACE VIEW millrace.runs WITH (security_invoker) AS
SELECT r.run_id, w.name AS workflow, v.version, t.name AS tenant, coalesce(r.labels, '{}') AS labels, millrace_internal.run_state_name(r.state) AS state,
       (SELECT i.input FROM millrace_internal.run_input i WHERE i.run_id = r.run_id AND i.shard = r.shard) AS input,
       r.created_at, least(r.started_at, n.started_at) AS started_at, r.finished_at,
       v.steps + n.gained AS steps_total, n.completed AS steps_completed, n.failed AS steps_failed, n.running AS steps_running,
       n.skipped AS steps_skipped, n.cancelled AS steps_cancelled,
       r.priority, r.not_before, r.deadline, r.parent_run_id, r.parent_step_no, r.trace, r.version_id, v.run_id IS NOT NULL AS grown
FROM millrace_internal.run r
JOIN millrace_internal.version v USING (version_id)
JOIN millrace_internal.workflow w USING (workflow_id)
JOIN millrace_internal.tenant t USING (tenant_id)
-- no function: where no count is asked for, the planner drops this join, and nothing is counted
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE s.state = 10)::integer AS completed, count(*) FILTER (WHERE s.state = 11)::integer AS failed,
           count(*) FILTER (WHERE s.state = 4)::integer AS running, count(*) FILTER (WHERE s.state IN (12, 14))::integer AS skipped,
           count(*) FILTER (WHERE s.state = 13)::integer AS cancelled, count(*) FILTER (WHERE millrace_internal.is_gained(s.step_no))::integer AS gained, min(s.started_at) AS started_at
    FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard) n ON true;
COMMENT ON VIEW millrace.runs IS 'Runs, with their steps counted. Order by run_id for the latest.';

CREATE OR REPLACE VIEW millrace.run_progress WITH (security_invoker) AS
SELECT r.run_id, w.name AS workflow, millrace_internal.run_state_name(r.state) AS state, v.steps + g.gained AS steps_total,
       v.steps + g.gained - (n.completed + n.failed + n.skipped + n.cancelled + n.running + n.ready + n.waiting) AS steps_pending,
       n.waiting AS steps_waiting, n.ready AS steps_ready, n.running AS steps_running, n.completed AS steps_completed,
       n.failed AS steps_failed, n.skipped AS steps_skipped, n.cancelled AS steps_cancelled,
       (n.completed + n.failed + n.skipped + n.cancelled)::double precision / (v.steps + g.gained) AS fraction_done,
       CASE WHEN r.finished_at IS NOT NULL THEN 0 ELSE p.remaining END AS remaining_seconds,
       coalesce(r.finished_at, millrace_internal.clock() + pg_catalog.make_interval(secs => p.remaining)) AS estimated_end
FROM millrace_internal.run r
JOIN millrace_internal.version v USING (version_id)
JOIN millrace_internal.workflow w USING (workflow_id)
LEFT JOIN LATERAL millrace_internal.run_tally(r.run_id) n ON true
LEFT JOIN LATERAL (SELECT count(*)::integer AS gained FROM millrace_internal.step s WHERE s.run_id = r.run_id AND millrace_internal.is_gained(s.step_no) AND s.shard = r.shard) g ON true
-- at least as long as the longest path that is left, in expected seconds
LEFT JOIN LATERAL (
    SELECT coalesce(max(greatest(0, s.rank - CASE WHEN s.state = 4 THEN extract(epoch FROM millrace_internal.clock() - s.started_at) ELSE 0 END)), 0)::double precision AS remaining
    FROM millrace_internal.run_step s WHERE s.run_id = r.run_id AND s.state < 10 AND r.finished_at IS NULL) p ON true;
COMMENT ON VIEW millrace.run_progress IS 'How far runs are, and how long at least they will still take, in seconds that the steps are expected to take.';

CREATE OR REPLACE VIEW millrace.events WITH (security_invoker) AS
SELECT e.event_id, e.run_id, e.step_no, millrace_internal.event_kind_name(e.kind) AS kind, e.attempt, e.agent_id, e.at, e.data
FROM millrace_internal.event e;
COMMENT ON VIEW millrace.events IS 'Every state change, in the order of event_id within a run. Ask for one run_id, or for a range of event_id.';
