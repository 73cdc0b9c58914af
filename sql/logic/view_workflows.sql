-- Purpose: what is defined.
CREATE OR REPLACE VIEW millrace.workflows WITH (security_invoker) AS
SELECT w.name AS workflow, v.version, v.version_id, v.steps, v.edges, CASE v.on_failure WHEN 1 THEN 'cancel' ELSE 'continue' END AS on_failure,
       pg_catalog.pg_get_userbyid(v.defined_by) AS defined_by, v.defined_at, v.inline, v.definition
FROM millrace_internal.workflow w JOIN millrace_internal.version v USING (workflow_id)
WHERE v.run_id IS NULL;
COMMENT ON VIEW millrace.workflows IS 'Every version of every workflow. inline: it came with a submit and is never the latest.';
