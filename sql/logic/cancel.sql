-- Purpose: ending a run before its time.

CREATE OR REPLACE FUNCTION millrace.cancel(run_id bigint, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r millrace_internal.run := millrace_internal.run_get(cancel.run_id);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF octet_length(reason) > 10000 THEN
        PERFORM millrace_internal.fail('MR002', 'the reason is longer than 10,000 bytes');
    END IF;
    IF NOT millrace_internal.cancel_rest(r.shard, r.run_id, 12::smallint, reason) THEN
        SELECT * INTO r FROM millrace_internal.run_get(cancel.run_id);
        PERFORM millrace_internal.fail('MR031', format('run %s has ended: it is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running or paused run can be cancelled.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace.cancel(bigint, text) IS
'Cancels all that has not ended in a run, and the run. Agents are told which of their steps are concerned. Errors: MR013 unknown run, MR031 it has ended.
Locks: all step rows of the run, ascending, then the run. Tables changed: step, run, receipt, revocation, event.';

-- Arguments: final_state  12 for a cancel, 11 where a failure ends the run
-- Returns:   false if the run had ended already
CREATE OR REPLACE FUNCTION millrace_internal.cancel_rest(in_shard smallint, in_run_id bigint, final_state smallint, reason text)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r       millrace_internal.run;
    now_at  timestamptz;
    xact    bigint;
    held    record;
    phased  boolean;    -- something may follow what is cancelled
BEGIN
    PERFORM millrace_internal.lock_run_steps(in_shard, in_run_id, true);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = in_run_id AND n.shard = in_shard FOR NO KEY UPDATE;
    IF r.finished_at IS NOT NULL THEN
        RETURN false;
    END IF;
    now_at := millrace_internal.clock();
    xact := pg_current_xact_id()::text::bigint;
    IF r.ends_as = 11 AND millrace_internal.is_being_undone(r) THEN
        -- what is asked for is what goes on: the run is undone. A second cancel gives that up.
        UPDATE millrace_internal.run n SET ends_as = 12 WHERE n.run_id = in_run_id AND n.shard = in_shard;
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
        VALUES (in_run_id, now_at, xact, in_shard, 17, jsonb_strip_nulls(jsonb_build_object('state', 'cancelled', 'reason', reason)));
        RETURN true;
    END IF;
    phased := (SELECT v.phased FROM millrace_internal.version v WHERE v.version_id = r.version_id);
    FOR held IN
        SELECT s.agent_id, array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(s.token) AS tokens, array_agg(s.receipt_no) AS receipts
        FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 4 AND s.agent_id > 0
        GROUP BY s.agent_id ORDER BY s.agent_id
    LOOP
        PERFORM millrace_internal.revoke(held.agent_id, held.runs, held.steps, held.tokens, 'cancelled');
        PERFORM millrace_internal.receipts_settle(in_shard, held.agent_id, array_agg(u.receipt_no), array_agg(u.n))
        FROM (SELECT receipt_no, count(*)::integer AS n FROM unnest(held.receipts) receipt_no GROUP BY 1) u;
    END LOOP;
    PERFORM millrace_internal.sink_remove(in_shard, in_run_id);
    PERFORM millrace_internal.sub_runs_stop(in_shard, ARRAY[in_run_id], NULL);
    WITH gone AS (
        UPDATE millrace_internal.step s SET state = 13, finished_at = now_at
        WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state < 10
          -- steps of finally have rows before their time where the run was reopened
          AND (r.phase = 2 OR NOT phased OR NOT EXISTS (SELECT FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.def_no = s.def_no AND d.finally))
        RETURNING s.step_no, s.attempts, s.agent_id, s.started_at)
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
    SELECT in_run_id, now_at, xact, g.step_no, CASE WHEN g.attempts > 0 THEN nullif(g.agent_id, 0) END, g.attempts, in_shard, 14 FROM gone g ORDER BY g.step_no;
    DELETE FROM millrace_internal.wait w WHERE w.run_id = in_run_id AND w.shard = in_shard;
    PERFORM millrace_internal.batch_leave(in_shard, in_run_id);
    IF phased THEN
        -- a paused run goes on to its end: what was to be held has gone
        UPDATE millrace_internal.run u SET state = 1, closing_left = 0 WHERE u.run_id = in_run_id AND u.shard = in_shard;
        PERFORM millrace_internal.run_next_phase(in_shard, in_run_id, final_state, reason);
        RETURN true;
    END IF;
    UPDATE millrace_internal.run u SET state = final_state, finished_at = now_at, closing_left = 0 WHERE u.run_id = in_run_id AND u.shard = in_shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
    VALUES (in_run_id, now_at, xact, in_shard, CASE final_state WHEN 12 THEN 6 ELSE 5 END, CASE WHEN reason IS NOT NULL THEN jsonb_build_object('reason', reason) END);
    IF r.awaited THEN
        PERFORM millrace_internal.runs_ring(in_shard, ARRAY[in_run_id]);
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.cancel_rest(smallint, bigint, smallint, text) IS 'Cancels every step of a run that has not ended, and ends the run, or begins its next phase.';

-- Takes a run's ready steps out of the sink; what is overlooked is found stale when it is claimed.
CREATE OR REPLACE FUNCTION millrace_internal.sink_remove(in_shard smallint, in_run_id bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        PERFORM millrace_internal.dispatcher_remove(array_agg(s.run_id), array_agg(s.step_no))
        FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 2 HAVING count(*) > 0;
        RETURN;
    END IF;
    -- by all of the key but the rank, which may have been another one when the step became ready
    DELETE FROM millrace_internal.ready q
    USING (SELECT DISTINCT d.queue_id, d.handler_id, millrace_internal.effective_priority(r.priority, d.priority) AS priority, r.tenant_id
           FROM millrace_internal.step s
           JOIN millrace_internal.run r ON r.run_id = in_run_id AND r.shard = in_shard
           JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
           WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 2) k
    WHERE q.queue_id = k.queue_id AND q.handler_id = k.handler_id AND q.priority = k.priority AND q.tenant_id = k.tenant_id
      AND q.run_id = in_run_id AND q.shard = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_remove(smallint, bigint) IS 'Tells the sink that a run''s ready steps are not to be claimed. Tables changed: ready (plain tier).';
