-- Purpose: questions about the paths of a run. Answered from the version's graph, without recursion in SQL.

CREATE OR REPLACE FUNCTION millrace.critical_path(run_id bigint)
RETURNS TABLE (step_no integer, key text, state text, seconds real)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r millrace_internal.run := millrace_internal.run_get(critical_path.run_id);
BEGIN
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT d.def_no, d.key, coalesce(millrace_internal.step_state_name(s.state), CASE WHEN r.state >= 10 THEN 'cancelled' ELSE 'pending' END) AS state,
               -- what it took, else what it has taken so far or what is expected, whichever is more
               CASE WHEN s.state = 10 THEN coalesce(s.elapsed, extract(epoch FROM s.finished_at - s.started_at), 0)
                    WHEN s.state = 4 THEN greatest(e.seconds, extract(epoch FROM millrace_internal.clock() - s.started_at))
                    WHEN s.state >= 11 THEN 0
                    ELSE e.seconds END::real AS seconds
        FROM millrace_internal.step_definition d
        JOIN millrace_internal.estimates(r.version_id) e USING (def_no)
        LEFT JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard
        WHERE d.version_id = r.version_id)
    SELECT k.def_no, k.key, k.state, k.seconds
    FROM unnest(millrace_internal.graph_critical_path((SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = r.version_id),
                                                      (SELECT array_agg(k.seconds ORDER BY k.def_no) FROM known k))) WITH ORDINALITY p (def_no, ord)
    JOIN known k USING (def_no) ORDER BY p.ord;
END $$;
COMMENT ON FUNCTION millrace.critical_path(bigint) IS
'The longest path through a run, first step first, in seconds: measured where a step has run, expected where it has not: from earlier runs of the version, else from its definition.';

CREATE OR REPLACE FUNCTION millrace.affected_by(run_id bigint, key text)
RETURNS SETOF millrace.steps
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r millrace_internal.run := millrace_internal.run_get(affected_by.run_id);
    d millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, affected_by.key);
BEGIN
    RETURN QUERY
    SELECT s.* FROM millrace.steps s
    WHERE s.run_id = r.run_id AND s.state NOT IN ('completed', 'failed', 'skipped', 'cancelled')
      AND s.step_no = ANY (millrace_internal.graph_fall((SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = r.version_id), d.def_no))
    ORDER BY s.step_no;
END $$;
COMMENT ON FUNCTION millrace.affected_by(bigint, text) IS
'What falls if this step fails: the steps of the run that could then not complete, whatever else happens, for they hang on it through steps that need all to complete. Errors: MR013, MR014.';
