-- Purpose: steps as everyone thinks of them: all of a run's, those included that have no row yet.

CREATE OR REPLACE VIEW millrace.steps WITH (security_invoker) AS
SELECT s.run_id, s.step_no, s.key, millrace_internal.step_state_name(s.state) AS state, s.attempts, q.name AS queue, s.handler,
       millrace_internal.effective_priority(s.run_priority, s.priority) AS priority,
       CASE WHEN s.state <> 1 THEN s.ready_at END AS ready_at, s.started_at, s.finished_at, pg_catalog.make_interval(secs => s.elapsed::double precision) AS elapsed, s.agent_id, s.error,
       s.token,
       -- key by key: a join here is planned for each step anew, and may read all definitions for each
       ARRAY(SELECT (SELECT n.key FROM millrace_internal.step_definition n WHERE n.version_id = s.version_id AND n.def_no = u.def_no)
             FROM pg_catalog.unnest(s.needs) u (def_no)) AS needs,
       s.level, s.rank, pg_catalog.make_interval(secs => s.expected::double precision) AS expected,
       (SELECT o.output FROM millrace_internal.output o WHERE o.run_id = s.run_id AND o.step_no = s.step_no AND o.shard = s.shard) AS output, s.error_class,
       (SELECT n.fraction FROM millrace_internal.step_note n WHERE n.run_id = s.run_id AND n.step_no = s.step_no AND n.shard = s.shard) AS progress,
       (SELECT n.message FROM millrace_internal.step_note n WHERE n.run_id = s.run_id AND n.step_no = s.step_no AND n.shard = s.shard) AS progress_message, s.element
FROM millrace_internal.run_step s
JOIN millrace_internal.queue q USING (queue_id);
COMMENT ON VIEW millrace.steps IS 'Steps of runs. Ask for one run_id: it costs time in that run''s size only.';
