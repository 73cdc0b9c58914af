-- Purpose: finding the runs that are alive without reading those that have ended, and without an index on something that
-- changes: such an index costs every run two entries, and makes the update at its end a row of its own.
--
-- Runs are young or old, as objects are to a garbage collector. The keeper moves a horizon over the runs; what it finds alive
-- it notes in long_run. Below the horizon that table tells, above it the runs themselves. Most runs end before they are noted.
--
-- The horizon stays behind every transaction that may yet commit a run below it: a submit takes its transaction's number
-- before it draws run ids (logic/submit.sql), so of the ids drawn by now each belongs to a transaction numbered by now.
-- A run that is reopened is noted whatever its age; one that has ended is taken off under the lock of its row. So a run that
-- is alive below the horizon is always noted, and a note too many is only looked up in vain.

-- Returns: runs that are alive, in order, behind after_run.
CREATE OR REPLACE FUNCTION millrace_internal.runs_alive(after_run bigint, max_runs bigint)
RETURNS TABLE (run_id bigint, state smallint, priority smallint, tenant_id integer)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    horizon bigint := coalesce((SELECT h.below FROM millrace_internal.run_horizon h), 0);
    found   bigint := 0;
BEGIN
    IF after_run < horizon THEN
        RETURN QUERY
        SELECT r.run_id, r.state, r.priority, r.tenant_id
        FROM (SELECT l.run_id, l.shard FROM millrace_internal.long_run l
              WHERE l.run_id > after_run AND l.run_id < horizon ORDER BY l.run_id, l.shard) l
        -- OFFSET 0: key by key, in that order
        CROSS JOIN LATERAL (SELECT * FROM millrace_internal.run r
                            WHERE r.run_id = l.run_id AND r.shard = l.shard AND r.finished_at IS NULL OFFSET 0) r
        LIMIT max_runs;
        GET DIAGNOSTICS found = ROW_COUNT;
    END IF;
    IF found < max_runs THEN
        RETURN QUERY
        SELECT r.run_id, r.state, r.priority, r.tenant_id FROM millrace_internal.run r
        WHERE r.run_id > greatest(after_run, horizon - 1) AND r.finished_at IS NULL ORDER BY r.run_id LIMIT max_runs - found;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.runs_alive(bigint, bigint) IS
'The next runs that are alive. Time in what is alive, and in what was submitted since the keeper looked or the oldest writing transaction began.';

-- Locks: the horizon, skipped where another keeper has it. Tables changed: run_horizon, long_run.
CREATE OR REPLACE FUNCTION millrace_internal.keep_run_horizon(patience integer DEFAULT 10000)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    batch  constant bigint := 20000 * 256;
    drawn  bigint;
    h      millrace_internal.run_horizon;
    upto   bigint;
    noted  integer;
BEGIN
    -- before this transaction has a number: else it would be older than what is drawn here
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RETURN false;
    END IF;
    drawn := (coalesce(pg_sequence_last_value('millrace_internal.run_seq'), 0) + 1) * 256;
    SELECT * INTO h FROM millrace_internal.run_horizon;
    IF h.next IS NULL THEN
        IF drawn - coalesce(h.below, 0) >= patience * 256::bigint THEN
            INSERT INTO millrace_internal.run_horizon AS o (below, next, next_xact, swept_to)
            VALUES (0, drawn, pg_current_xact_id()::text::bigint, 0)
            ON CONFLICT (only_row) DO UPDATE SET next = excluded.next, next_xact = excluded.next_xact WHERE o.next IS NULL AND o.below < excluded.next;
        END IF;
        RETURN false;
    ELSIF pg_snapshot_xmin(pg_current_snapshot())::text::bigint < h.next_xact THEN
        RETURN false;
    END IF;

    SELECT * INTO h FROM millrace_internal.run_horizon WHERE next IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND OR pg_snapshot_xmin(pg_current_snapshot())::text::bigint < h.next_xact THEN
        RETURN false;
    END IF;
    upto := least(h.next, h.below + batch);
    INSERT INTO millrace_internal.long_run (run_id, shard)
    SELECT r.run_id, r.shard FROM millrace_internal.run r
    WHERE r.run_id >= h.below AND r.run_id < upto AND r.finished_at IS NULL ORDER BY r.run_id
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS noted = ROW_COUNT;
    UPDATE millrace_internal.run_horizon
    SET below = upto, next = nullif(h.next, upto), next_xact = CASE WHEN upto < h.next THEN h.next_xact END,
        swept_to = millrace_internal.long_runs_sweep(h.swept_to, 1000 + 2 * noted);
    RETURN upto < h.next;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_run_horizon(integer) IS
'Moves the horizon over up to 20,000 runs once so many have been submitted; answers whether there are more. Reads each run once in its life.';

-- Returns: where to go on; 0 at the end. Locks: run rows, SKIP LOCKED. Tables changed: long_run.
CREATE OR REPLACE FUNCTION millrace_internal.long_runs_sweep(after_run bigint, max_runs integer)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    seen bigint[] := ARRAY(SELECT l.run_id FROM millrace_internal.long_run l WHERE l.run_id > after_run ORDER BY l.run_id LIMIT max_runs);
BEGIN
    -- the lock keeps a retry from reopening the run between the look and the deletion
    WITH ended AS MATERIALIZED (
        SELECT r.run_id, r.shard FROM millrace_internal.run r
        WHERE r.run_id = ANY (seen) AND r.finished_at IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED)
    DELETE FROM millrace_internal.long_run l USING ended e WHERE l.run_id = e.run_id AND l.shard = e.shard;
    RETURN CASE WHEN cardinality(seen) < max_runs THEN 0 ELSE seen[max_runs] END;
END $$;
COMMENT ON FUNCTION millrace_internal.long_runs_sweep(bigint, integer) IS 'Clears long_run of runs that have ended, so many a time.';
