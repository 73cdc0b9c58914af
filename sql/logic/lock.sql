-- Purpose: taking whole runs in lock order (docs/locking.md), for calls that may touch every step of a run.

-- Locks every row of these runs, and single ones beside them: first all that are past pending, ascending, then the pending
-- ones, without waiting. A report in flight holds its own rows, so this waits for it, and what it has handed on meanwhile may
-- be held by another report that waits for this call: then all is let go, and taken once more. Once every row of a run is
-- held, nobody else can add one. In a run that has grown, a pending step may stand before one that it needs: so the order is
-- by state first (docs/locking.md).
-- Locks: step rows, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.lock_steps(in_shard smallint, whole_runs bigint[], more_runs bigint[], more_steps integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    all_held boolean;
BEGIN
    LOOP
        BEGIN
            PERFORM FROM (SELECT s.run_id, s.step_no FROM millrace_internal.step s WHERE s.run_id = ANY (whole_runs) AND s.shard = in_shard AND s.state <> 0
                          UNION SELECT * FROM unnest(more_runs, more_steps) ORDER BY 1, 2) k
            CROSS JOIN LATERAL (SELECT FROM millrace_internal.step s
                                WHERE s.run_id = k.run_id AND s.step_no = k.step_no AND s.shard = in_shard FOR NO KEY UPDATE) locked;
            SELECT (SELECT count(*) FROM millrace_internal.step s WHERE s.run_id = ANY (whole_runs) AND s.shard = in_shard)
                 = (SELECT count(*) FROM (SELECT FROM millrace_internal.step s WHERE s.run_id = ANY (whole_runs) AND s.shard = in_shard
                                          FOR NO KEY UPDATE SKIP LOCKED) held) INTO all_held;
            EXIT WHEN all_held;
            RAISE SQLSTATE 'MR000';
        EXCEPTION WHEN SQLSTATE 'MR000' THEN
            -- leaving the block has let the rows go
            CONTINUE;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_steps(smallint, bigint[], bigint[], integer[]) IS 'Takes all steps of runs, and single ones beside them, in lock order.';

-- Locks a whole run. With `whole`, steps that nothing has touched get their rows too. Tables changed: step, with whole.
CREATE OR REPLACE FUNCTION millrace_internal.lock_run_steps(in_shard smallint, in_run_id bigint, whole boolean)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.lock_steps(in_shard, ARRAY[in_run_id], NULL, NULL);
    IF whole THEN
        PERFORM millrace_internal.materialise(in_shard, array_agg(r.run_id ORDER BY d.def_no), array_agg(d.def_no ORDER BY d.def_no))
        FROM millrace_internal.run r JOIN millrace_internal.step_definition d USING (version_id)
        WHERE r.run_id = in_run_id AND r.shard = in_shard AND r.finished_at IS NULL AND NOT millrace_internal.is_gained(d.def_no) AND (NOT d.finally OR r.phase = 2);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_run_steps(smallint, bigint, boolean) IS 'Takes a whole run''s steps, in lock order.';

-- Before a failure ends its run (on_failure: cancel): the whole run, together with all rows that the call reports, in the
-- one pass that the order allows. Arguments as in millrace_internal.finish. Locks: step rows, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.lock_doomed(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], codes smallint[], classes text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    lost_limit integer := millrace_internal.setting('millrace.lost_limit')::integer;
    doomed     bigint[];
BEGIN
    SELECT array_agg(DISTINCT s.run_id) INTO doomed
    FROM unnest(run_ids, step_nos, tokens, codes, classes) u (run_id, step_no, token, code, class)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
         AND s.state IN (4, 5) AND s.token = u.token AND s.agent_id = in_agent_id AND NOT millrace_internal.is_gained(s.step_no)
    JOIN millrace_internal.version v ON v.version_id = s.version_id AND v.on_failure = 1
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE millrace_internal.is_last_try(u.code, u.class, s.attempts, d.retry_limit, d.retry_classes, lost_limit) AND d.on_error IS NULL;
    IF doomed IS NOT NULL THEN
        PERFORM millrace_internal.lock_steps(in_shard, doomed, run_ids, step_nos);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_doomed(smallint, integer, bigint[], integer[], integer[], smallint[], text[]) IS 'Takes the runs that a failure is about to cancel.';
