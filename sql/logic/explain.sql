-- Purpose: a version explained to its author: in which order and when its steps can start, what each hangs on, and where time
-- goes. From the version's graph and what its steps are expected to take: measured where they have been, else as defined.
-- Tables changed: none. Locks taken: none.

-- Arguments: workflow, version  the latest version where null
-- Returns:   one row a step, in the order in which they can start:
--            earliest  seconds from the start of a run, if nothing ever waits for a hand
--            slack     seconds by which it may be late without making the run longer
--            critical  whether it stands on the longest path
--            ancestors, descendants, falls  how many it waits for, wait for it, could not complete if it failed; null in
--                      versions of more than 20,000 steps
CREATE OR REPLACE FUNCTION millrace.explain_workflow(workflow text, version integer DEFAULT NULL)
RETURNS TABLE (step_no integer, key text, handler text, level integer, earliest real, seconds real, slack real, critical boolean, measured boolean,
               needs text[], ancestors integer, descendants integer, falls integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    in_version_id integer := millrace_internal.version_for(explain_workflow.workflow, explain_workflow.version);
    graph_value   bytea   := (SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = in_version_id);
    takes         real[]  := ARRAY(SELECT e.seconds FROM millrace_internal.estimates(in_version_id) e ORDER BY e.def_no);
    ranks         real[]  := millrace_internal.graph_ranks(graph_value, takes);
    starts        real[]  := array_fill(0::real, ARRAY[cardinality(takes)]);
    longest       real    := (SELECT max(r) FROM unnest(ranks) r);
    on_path       integer[] := millrace_internal.graph_critical_path(graph_value, takes);
    d             record;
BEGIN
    FOR d IN SELECT s.def_no, s.needs FROM millrace_internal.step_definition s WHERE s.version_id = in_version_id AND NOT millrace_internal.is_gained(s.def_no) AND s.needs IS NOT NULL ORDER BY s.level, s.def_no LOOP
        starts[d.def_no] := (SELECT max(starts[n] + takes[n]) FROM unnest(d.needs) n);
    END LOOP;
    RETURN QUERY
    SELECT s.def_no, s.key, s.handler, s.level, starts[s.def_no], takes[s.def_no], greatest(0, longest - starts[s.def_no] - ranks[s.def_no])::real,
           s.def_no = ANY (on_path),
           EXISTS (SELECT FROM millrace_internal.duration m WHERE m.version_id = s.version_id AND m.def_no = s.def_no),
           ARRAY(SELECT n.key FROM millrace_internal.step_definition n WHERE n.version_id = s.version_id AND n.def_no = ANY (s.needs) ORDER BY n.def_no),
           CASE WHEN cardinality(takes) <= 20000 THEN cardinality(millrace_internal.graph_ancestors(graph_value, s.def_no)) END,
           CASE WHEN cardinality(takes) <= 20000 THEN cardinality(millrace_internal.graph_descendants(graph_value, s.def_no)) END,
           CASE WHEN cardinality(takes) <= 20000 THEN cardinality(millrace_internal.graph_fall(graph_value, s.def_no)) END
    FROM millrace_internal.step_definition s WHERE s.version_id = in_version_id AND NOT millrace_internal.is_gained(s.def_no)
    ORDER BY starts[s.def_no], ranks[s.def_no] DESC, s.def_no;
END $$;
COMMENT ON FUNCTION millrace.explain_workflow(text, integer) IS
'In which order and when the steps of a version can start, their slack, the critical path, how many steps each waits for and how many fall with it. Errors: MR011, MR012.';
