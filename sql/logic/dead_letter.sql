-- Purpose: failures that nobody has dealt with: steps that have failed for good, which no other step handles (on_error), and which
-- nobody has retried or resolved. finish and engine_end write them down, reopen takes them off.

CREATE OR REPLACE VIEW millrace.dead_letters WITH (security_invoker) AS
SELECT l.run_id, w.name AS workflow, v.version, t.name AS tenant, coalesce(r.labels, '{}') AS labels, millrace_internal.run_state_name(r.state) AS run_state,
       l.step_no, d.key, q.name AS queue, d.handler, s.error AS reason, s.error_class, s.attempts, l.failed_at
FROM millrace_internal.dead_letter l
JOIN millrace_internal.step s ON s.run_id = l.run_id AND s.step_no = l.step_no AND s.shard = l.shard
JOIN millrace_internal.run r ON r.run_id = l.run_id AND r.shard = l.shard
JOIN millrace_internal.version v ON v.version_id = r.version_id
JOIN millrace_internal.workflow w ON w.workflow_id = v.workflow_id
JOIN millrace_internal.tenant t ON t.tenant_id = r.tenant_id
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
JOIN millrace_internal.queue q ON q.queue_id = d.queue_id;
COMMENT ON VIEW millrace.dead_letters IS 'Failed steps that nobody has retried or resolved, and that no other step handles. Time in their number, not in what is stored.';
