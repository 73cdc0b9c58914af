-- Purpose: what steps wait for. Readiness is counted down where it changes; this view only shows it, and nothing polls it.

CREATE OR REPLACE VIEW millrace.step_readiness WITH (security_invoker) AS
SELECT s.run_id, s.step_no, s.key, millrace_internal.step_state_name(s.state) AS state, s.needs_left,
       (SELECT pg_catalog.jsonb_object_agg(n.key, coalesce(millrace_internal.step_state_name(ns.state), 'pending'))
        FROM pg_catalog.unnest(s.needs) u (def_no)
        CROSS JOIN LATERAL (SELECT n.key FROM millrace_internal.step_definition n WHERE n.version_id = s.version_id AND n.def_no = u.def_no OFFSET 0) n
        LEFT JOIN LATERAL (SELECT ns.state FROM millrace_internal.step ns WHERE ns.run_id = s.run_id AND ns.step_no = u.def_no AND ns.shard = s.shard OFFSET 0) ns ON true
        WHERE ns.state IS NULL OR ns.state < 10 OR (s.rule = 0 AND ns.state > 10)) AS unmet_needs,
       greatest(0, s.retry_limit + 1 - s.attempts) AS tries_left,
       s.attempts <= s.retry_limit AS may_retry,
       CASE WHEN s.state = 1 THEN s.ready_at END AS next_attempt_at
FROM millrace_internal.run_step s;
COMMENT ON VIEW millrace.step_readiness IS
'What each step waits for: needs not yet terminal (or, under all_completed, badly ended) with their states, tries left, the time of the next one.';
