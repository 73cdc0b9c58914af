-- Purpose: questions about paths, answered from what was computed when the version was defined. No recursion in SQL.

CREATE OR REPLACE VIEW millrace.dependency_paths WITH (security_invoker) AS
SELECT w.name AS workflow, v.version, d.key, d.def_no AS step_no, d.level, millrace_internal.rank_of(d.version_id, d.def_no, d.rank) AS rank, d.needs_count AS needs_counted,
       coalesce(cardinality(d.needs), 0) AS needs_declared, d.closing,
       millrace_internal.graph_ancestors(v.graph, d.def_no) AS ancestors,
       millrace_internal.graph_descendants(v.graph, d.def_no) AS descendants, v.run_id
FROM millrace_internal.version v
JOIN millrace_internal.workflow w USING (workflow_id)
JOIN millrace_internal.step_definition d ON d.version_id = v.version_id AND NOT millrace_internal.is_gained(d.def_no);
COMMENT ON VIEW millrace.dependency_paths IS
'For each step of each version, and of each run that has a version of its own (run_id): all it waits for and all that waits for it (step numbers), its level, and its rank in expected seconds.';

-- The id of a run, or an error that names it.
CREATE OR REPLACE FUNCTION millrace_internal.run_get(in_run_id bigint, OUT run millrace_internal.run)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    SELECT r.* INTO run FROM millrace_internal.run r WHERE r.run_id = in_run_id AND r.shard = (in_run_id & 255);
    IF NOT FOUND THEN
        PERFORM millrace_internal.fail('MR013', format('there is no run %s', coalesce(in_run_id::text, 'null')), NULL, 'See the view millrace.runs.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.run_get(bigint) IS 'The row of a run; MR013 without one.';

-- The definition of a step of a run, or an error that names the nearest key.
CREATE OR REPLACE FUNCTION millrace_internal.step_by_key(in_version_id integer, in_key text, OUT def millrace_internal.step_definition)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    near text;
BEGIN
    SELECT d.* INTO def FROM millrace_internal.step_definition d WHERE d.version_id = in_version_id AND d.key = in_key;
    IF NOT FOUND THEN
        near := millrace_internal.nearest(in_key, ARRAY(SELECT d.key FROM millrace_internal.step_definition d WHERE d.version_id = in_version_id ORDER BY d.def_no));
        PERFORM millrace_internal.fail('MR014', format('there is no step "%s" in this run', in_key), NULL, 'Did you mean "' || near || '"?');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.step_by_key(integer, text) IS 'The definition of a step; MR014 without one.';
