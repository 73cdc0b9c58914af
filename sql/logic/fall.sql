-- Purpose: before skips spread, or steps end that nobody claims: the rows that may be touched, taken in one ascending pass (class 2 of docs/locking.md).
-- Where no need has ended badly, nothing spreads further than the dependents, and this is not needed.

-- A dependent that has begun, as its rule needed only some of its needs, is left to its own report, with all that hangs on it alone.
-- Arguments: bad_*  steps that may be skipped, or end at once; hit_*  dependents that this call counts down
-- Locks and tables changed: as take_below.
CREATE OR REPLACE FUNCTION millrace_internal.lock_falling(in_shard smallint, bad_runs bigint[], bad_defs integer[], hit_runs bigint[], hit_defs integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    all_runs bigint[];
    all_defs integer[];
BEGIN
    SELECT array_agg(f.run_id ORDER BY f.run_id, f.def_no), array_agg(f.def_no ORDER BY f.run_id, f.def_no) INTO all_runs, all_defs
    FROM (SELECT b.run_id, below.def_no
          FROM unnest(bad_runs, bad_defs) b (run_id, def_no)
          JOIN millrace_internal.run r ON r.run_id = b.run_id AND r.shard = in_shard
          JOIN millrace_internal.version v ON v.version_id = r.version_id
          CROSS JOIN LATERAL unnest(millrace_internal.graph_descendants(v.graph, b.def_no)) below (def_no)
          UNION
          SELECT h.run_id, h.def_no FROM unnest(hit_runs, hit_defs) h (run_id, def_no)
          WHERE NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = h.run_id AND s.step_no = h.def_no AND s.shard = in_shard AND s.state <> 0)) f;
    PERFORM millrace_internal.take_below(in_shard, all_runs, all_defs);
END $$;
COMMENT ON FUNCTION millrace_internal.lock_falling(smallint, bigint[], integer[], bigint[], integer[]) IS 'Locks all that may be skipped with these steps, in one ascending pass.';

-- Steps that were skipped although nothing was held beforehand: a need had ended badly in another call, for which this one waited. They have fallen
-- where that one had. Tables changed: step.
CREATE OR REPLACE FUNCTION millrace_internal.tell_fallen(in_shard smallint, run_ids bigint[], def_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE millrace_internal.step s SET state = 14
    FROM unnest(run_ids, def_nos) u (run_id, def_no)
    JOIN millrace_internal.step o ON o.run_id = u.run_id AND o.step_no = u.def_no AND o.shard = in_shard AND o.state = 12 AND o.needs_bad > 0
    JOIN millrace_internal.step_definition d ON d.version_id = o.version_id AND d.def_no = u.def_no AND d.rule IN (0, 2, 10)
    WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = u.def_no AND s.shard = in_shard
      AND millrace_internal.some_need_fell(in_shard, u.run_id, d.version_id, d.needs);
END $$;
COMMENT ON FUNCTION millrace_internal.tell_fallen(smallint, bigint[], integer[]) IS 'Tells skipped steps from those that fell while this call waited.';

-- Takes steps one by one, in lock order; one that nothing has touched gets its row in its place.
-- Arguments: ascending. Locks: pending step rows, ascending. Tables changed: step.
CREATE OR REPLACE FUNCTION millrace_internal.take_below(in_shard smallint, run_ids bigint[], def_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    next record;
BEGIN
    FOR next IN
        SELECT u.run_id, u.def_no, r.version_id, d.needs_count, s.step_no IS NOT NULL AS has_row
        FROM unnest(run_ids, def_nos) WITH ORDINALITY u (run_id, def_no, ord)
        JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
        JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.def_no
        LEFT JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.def_no AND s.shard = in_shard
        WHERE (u.run_id & 255) = in_shard ORDER BY u.ord
    LOOP
        IF NOT next.has_row THEN
            INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, needs_left)
            VALUES (in_shard, next.run_id, next.def_no, next.version_id, next.def_no, 0, next.needs_count) ON CONFLICT DO NOTHING;
            CONTINUE WHEN FOUND;
        END IF;
        -- a step further down that has begun is its own report's, which may want what is held here
        PERFORM FROM millrace_internal.step s WHERE s.run_id = next.run_id AND s.step_no = next.def_no AND s.shard = in_shard AND s.state = 0 FOR NO KEY UPDATE;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.take_below(smallint, bigint[], integer[]) IS 'Takes steps in lock order, and writes the rows of those that have none.';

-- Writes the rows of pending steps that have none yet. Argument order is lock order: ascending.
CREATE OR REPLACE FUNCTION millrace_internal.materialise(in_shard smallint, run_ids bigint[], def_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, needs_left)
    SELECT in_shard, u.run_id, u.def_no, r.version_id, u.def_no, 0, d.needs_count
    FROM unnest(run_ids, def_nos) WITH ORDINALITY u (run_id, def_no, ord)
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.def_no
    WHERE (u.run_id & 255) = in_shard
      AND NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = u.run_id AND s.step_no = u.def_no AND s.shard = in_shard)
    ORDER BY u.ord
    ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION millrace_internal.materialise(smallint, bigint[], integer[]) IS 'Gives pending steps their rows. Tables changed: step.';
