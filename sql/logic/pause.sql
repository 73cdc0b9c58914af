-- Purpose: holding a run and letting it go on.

CREATE OR REPLACE FUNCTION millrace.pause(run_id bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r      millrace_internal.run := millrace_internal.run_get(pause.run_id);
    now_at timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    IF r.state <> 1 THEN
        PERFORM millrace_internal.fail('MR032', format('run %s is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running run can be paused.');
    END IF;
    now_at := millrace_internal.clock();
    PERFORM millrace_internal.sink_remove(r.shard, r.run_id);
    UPDATE millrace_internal.step s SET state = 3 WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 2;
    PERFORM millrace_internal.batch_leave(r.shard, r.run_id);
    UPDATE millrace_internal.run n SET state = 2 WHERE n.run_id = r.run_id AND n.shard = r.shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind) VALUES (r.run_id, now_at, pg_current_xact_id()::text::bigint, r.shard, 2);
END $$;
COMMENT ON FUNCTION millrace.pause(bigint) IS
'Parks a run: none of its steps is handed out once this has committed; what runs goes on. Errors: MR013, MR032 not running.
Locks: the run''s step rows, ascending, then the run. Tables changed: step, run, event, ready (plain tier).';

CREATE OR REPLACE FUNCTION millrace.resume(run_id bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r      millrace_internal.run := millrace_internal.run_get(resume.run_id);
    back   record;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    IF r.state <> 2 THEN
        PERFORM millrace_internal.fail('MR033', format('run %s is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a paused run can be resumed.');
    END IF;
    UPDATE millrace_internal.run n SET state = 1 WHERE n.run_id = r.run_id AND n.shard = r.shard;
    -- before what the engine begins, or ends, at once
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind) VALUES (r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.shard, 3);
    WITH parked AS (
        UPDATE millrace_internal.step s SET state = 2 WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 3 RETURNING s.run_id, s.step_no)
    SELECT array_agg(p.run_id) AS runs, array_agg(p.step_no) AS steps INTO back FROM parked p;
    IF back.runs IS NOT NULL THEN
        PERFORM millrace_internal.make_ready(r.shard, back.runs, back.steps);
    END IF;
END $$;
COMMENT ON FUNCTION millrace.resume(bigint) IS 'Lets a paused run go on. Errors: MR013, MR033 not paused. Locks and tables changed: as pause.';
