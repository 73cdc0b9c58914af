-- Purpose: the steps of runs with their definitions, those included that have no row yet. The views of steps build on it.
-- Its form keeps the planner from the quadratic plan of a plain outer join (which it takes for one row a run), and lets
-- a question about one state leave out the half that cannot answer it.

CREATE OR REPLACE VIEW millrace_internal.run_step WITH (security_invoker) AS
SELECT s.run_id, s.step_no, s.shard, r.version_id, r.priority AS run_priority,
       d.key, d.queue_id, d.handler, d.priority, d.needs, d.rule, d.retry_limit, d.level, millrace_internal.rank_of(d.version_id, d.def_no, d.rank) AS rank, d.expected,
       s.state, s.attempts, s.token, s.needs_left, s.ready_at, s.started_at, s.finished_at, s.elapsed, nullif(s.agent_id, 0) AS agent_id, s.error, s.error_class, s.element
FROM millrace_internal.step s
JOIN millrace_internal.run r ON r.run_id = s.run_id AND r.shard = s.shard
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
UNION ALL
SELECT r.run_id, d.def_no, r.shard, r.version_id, r.priority,
       d.key, d.queue_id, d.handler, d.priority, d.needs, d.rule, d.retry_limit, d.level, millrace_internal.rank_of(d.version_id, d.def_no, d.rank) AS rank, d.expected,
       0::smallint, 0, 0, d.needs_count, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM millrace_internal.run r
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND NOT millrace_internal.is_gained(d.def_no)
-- OFFSET 0: one look at the key for each definition, never a join
WHERE NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard OFFSET 0);
COMMENT ON VIEW millrace_internal.run_step IS 'Steps of runs with their definitions; a step without a row is pending.';
