-- Purpose: how long steps have taken, beside what their definitions expect.
CREATE OR REPLACE VIEW millrace.step_durations WITH (security_invoker) AS
SELECT w.name AS workflow, v.version, d.key, m.samples,
       pg_catalog.make_interval(secs => m.seconds::double precision) AS mean, pg_catalog.make_interval(secs => m.deviation::double precision) AS deviation,
       pg_catalog.make_interval(secs => d.expected::double precision) AS expected
FROM millrace_internal.duration m
JOIN millrace_internal.step_definition d USING (version_id, def_no)
JOIN millrace_internal.version v USING (version_id)
JOIN millrace_internal.workflow w USING (workflow_id);
COMMENT ON VIEW millrace.step_durations IS
'Running estimates of step durations, by workflow, version and key. mean: of the handler''s own time; the latest durations count most. deviation: the mean distance from it.';
