-- Purpose: the rank of a step, by which claims are ordered inside a run: from measured durations where there are some.
-- Who sees them is told by C: each backend keeps the arrays it has read until the keeper has written new ones.
-- Tables changed: none. Locks taken: none.

-- Arguments: defined  the rank of the definition (step_definition.rank)
CREATE OR REPLACE FUNCTION millrace_internal.rank_of(version_id integer, def_no integer, defined real)
RETURNS real LANGUAGE c STABLE STRICT PARALLEL UNSAFE COST 1
AS 'MODULE_PATHNAME', 'millrace_rank_of';
COMMENT ON FUNCTION millrace_internal.rank_of(integer, integer, real) IS
'The rank of a step from measured durations, else that of its definition.';

CREATE OR REPLACE FUNCTION millrace_internal.ranks_changed()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_ranks_changed';
COMMENT ON FUNCTION millrace_internal.ranks_changed() IS
'Has every backend read ranks anew, once the transaction has committed.';

-- What a step of a version takes: as measured; where nothing has been, as expected, corrected by how far the measured steps
-- of the version were off. (Nothing measured is nothing: paths of empty steps are still told apart by their length.)
CREATE OR REPLACE FUNCTION millrace_internal.estimates(in_version_id integer)
RETURNS TABLE (def_no integer, seconds real)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.def_no, least(1e9, coalesce(m.seconds, d.expected * coalesce(sum(m.seconds) OVER all_steps
               / nullif(sum(d.expected::double precision) FILTER (WHERE m.seconds IS NOT NULL) OVER all_steps, 0), 1)))::real
    FROM millrace_internal.step_definition d
    LEFT JOIN (SELECT m.def_no, greatest(m.seconds, 1e-6)::double precision AS seconds
               FROM millrace_internal.duration m WHERE m.version_id = in_version_id
               UNION ALL
               -- a run's own version knows what has been measured for the one that it was made from
               SELECT own.def_no, greatest(m.seconds, 1e-6)::double precision
               FROM millrace_internal.version v
               JOIN millrace_internal.duration m ON m.version_id = v.base_id
               JOIN millrace_internal.step_definition o ON o.version_id = m.version_id AND o.def_no = m.def_no
               JOIN millrace_internal.step_definition own ON own.key = o.key AND own.version_id = v.version_id AND own.handler_id = o.handler_id
               WHERE v.version_id = in_version_id) m USING (def_no)
    WHERE d.version_id = in_version_id AND NOT millrace_internal.is_gained(d.def_no)
    WINDOW all_steps AS ()
    ORDER BY d.def_no;
END $$;
COMMENT ON FUNCTION millrace_internal.estimates(integer) IS 'Seconds that each step of a version is now expected to take.';
