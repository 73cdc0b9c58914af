-- Purpose: the phases of a run: its main steps; where these have failed or were cancelled, the compensations of what had completed; then
-- the steps of `finally`, whatever became of the main ones. A run counts the closing steps of one phase at a time (run.closing_left);
-- where the version is phased, the end of a phase begins the next.

-- Arguments: in_state  12 for a cancel, 11 where a failure ends the main steps at once, null where all steps of the phase have ended
-- Locks: the run's row. Tables changed: run, event; as settle_roots.
CREATE OR REPLACE FUNCTION millrace_internal.run_next_phase(in_shard smallint, in_run_id bigint, in_state smallint, reason text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r      millrace_internal.run;
    v      record;
    now_at timestamptz := millrace_internal.clock();
    undone integer := 0;    -- how many compensations there are
BEGIN
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = in_run_id AND n.shard = in_shard FOR NO KEY UPDATE;
    SELECT ver.finally_roots, ver.finally_closing INTO v FROM millrace_internal.version ver WHERE ver.version_id = r.version_id;
    r.ends_as := CASE WHEN in_state = 12 OR r.ends_as = 12 THEN 12 WHEN coalesce(in_state, r.ends_as) = 11 OR r.steps_failed > 0 THEN 11 ELSE 10 END;
    IF r.phase IS NULL AND r.ends_as > 10 THEN
        undone := millrace_internal.compensations_write_rows(r);
    END IF;
    IF r.phase IS NULL AND (undone > 0 OR v.finally_roots IS NOT NULL) THEN
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
        VALUES (in_run_id, now_at, pg_current_xact_id()::text::bigint, in_shard, 17,
                jsonb_strip_nulls(jsonb_build_object('state', millrace_internal.run_state_name(r.ends_as), 'reason', reason, 'compensations', nullif(undone, 0))));
    END IF;
    IF undone > 0 THEN
        UPDATE millrace_internal.run n SET phase = 1, ends_as = r.ends_as, closing_left = undone WHERE n.run_id = in_run_id AND n.shard = in_shard;
        PERFORM millrace_internal.compensations_go_on(in_shard, ARRAY[in_run_id], ARRAY[2147483647]);
        RETURN;
    ELSIF coalesce(r.phase, 0) < 2 AND v.finally_roots IS NOT NULL THEN
        UPDATE millrace_internal.run n SET phase = 2, ends_as = r.ends_as, closing_left = v.finally_closing WHERE n.run_id = in_run_id AND n.shard = in_shard;
        PERFORM millrace_internal.settle_roots(in_shard, ARRAY[in_run_id], v.finally_roots);
        RETURN;
    END IF;
    -- a run that ends with its main steps may be taken back to them, and then end otherwise
    UPDATE millrace_internal.run n SET state = r.ends_as, ends_as = CASE WHEN r.phase IS NOT NULL THEN r.ends_as END, finished_at = now_at, closing_left = 0 WHERE n.run_id = in_run_id AND n.shard = in_shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
    VALUES (in_run_id, now_at, pg_current_xact_id()::text::bigint, in_shard, (ARRAY[4, 5, 6])[r.ends_as - 9],
            nullif(jsonb_strip_nulls(jsonb_build_object('reason', reason, 'not_compensated', millrace_internal.not_compensated(in_shard, in_run_id))), '{}'));
    IF r.awaited THEN
        PERFORM millrace_internal.runs_ring(in_shard, ARRAY[in_run_id]);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.run_next_phase(smallint, bigint, smallint, text) IS 'A phase of a run has ended: the next begins, or the run ends.';

-- Returns: what became of a run's main steps: {"state": completed, failed or cancelled; "failed": keys of the failed ones}, and where
--          compensations have failed or were cancelled, "not_compensated"
CREATE OR REPLACE FUNCTION millrace_internal.run_ended(in_shard smallint, in_run_id bigint)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN (SELECT jsonb_strip_nulls(jsonb_build_object('not_compensated', millrace_internal.not_compensated(in_shard, in_run_id)))
            || jsonb_build_object('state', millrace_internal.run_state_name(r.ends_as), 'failed', coalesce((
                SELECT jsonb_agg(d.key ORDER BY s.step_no)
                FROM millrace_internal.step s
                CROSS JOIN LATERAL (SELECT d.key, d.finally FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.def_no = s.def_no OFFSET 0) d
                WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 11 AND s.step_no = s.def_no AND NOT d.finally), '[]'))
            FROM millrace_internal.run r WHERE r.run_id = in_run_id AND r.shard = in_shard);
END $$;
COMMENT ON FUNCTION millrace_internal.run_ended(smallint, bigint) IS 'What became of the main steps, for the steps that run afterwards.';

-- Steps of a run are about to run again. Where main steps are among them, the run is back in its main phase, and the steps of
-- finally are pending, to run once more at the end.
-- Arguments: r  the run, held with all its steps; revived  the steps
-- Returns:   those that run again now
-- Tables changed: run, step, output, event.
CREATE OR REPLACE FUNCTION millrace_internal.phase_reopen(r millrace_internal.run, revived integer[])
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    main integer[];
BEGIN
    IF r.phase IS NULL THEN
        RETURN revived;
    ELSIF r.finished_at IS NULL THEN
        PERFORM millrace_internal.fail('MR034', format('run %s is about to end', r.run_id), 'Its main steps have ended; the steps that run afterwards are under way.', 'Wait for the end of the run.');
    END IF;
    SELECT array_agg(d.def_no ORDER BY d.def_no) INTO main FROM millrace_internal.step_definition d
    WHERE d.version_id = r.version_id AND d.def_no = ANY (revived) AND NOT d.finally;
    IF main IS NULL THEN
        -- what became of the main steps stays as it is; a failure of the steps of finally does not
        UPDATE millrace_internal.run n
        SET ends_as = CASE WHEN n.ends_as = 12 THEN 12 WHEN millrace_internal.run_ended(r.shard, r.run_id) -> 'failed' <> '[]' THEN 11 ELSE 10 END
        WHERE n.run_id = r.run_id AND n.shard = r.shard;
        RETURN revived;
    ELSIF millrace_internal.is_compensated(r) THEN
        PERFORM millrace_internal.fail('MR075', format('run %s has been compensated', r.run_id), 'What its steps had done is undone.',
            'Fork it: millrace.fork(run_id, step). A compensation that failed can be retried by its key, as in "compensate:pay".');
    END IF;
    WITH reset AS (
        UPDATE millrace_internal.step s
        SET state = 0, attempts = 0, needs_left = d.needs_count, needs_bad = 0, finished_at = NULL, ready_at = NULL
        FROM millrace_internal.step_definition d
        WHERE s.run_id = r.run_id AND s.shard = r.shard AND d.version_id = s.version_id AND d.def_no = s.def_no AND d.finally
        RETURNING s.step_no),
    forgotten AS (
        DELETE FROM millrace_internal.output o USING reset WHERE o.run_id = r.run_id AND o.shard = r.shard AND o.step_no = reset.step_no)
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind)
    SELECT r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, reset.step_no, 0, r.shard, 16 FROM reset ORDER BY 1;
    UPDATE millrace_internal.run n SET phase = NULL, ends_as = NULL WHERE n.run_id = r.run_id AND n.shard = r.shard;
    RETURN main;
END $$;
COMMENT ON FUNCTION millrace_internal.phase_reopen(millrace_internal.run, integer[]) IS 'Takes a run that had ended back to the phase of the steps that run again.';
