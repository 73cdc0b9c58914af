-- Purpose: what becomes of the steps that the engine holds (agent 0). Whatever they wait for, somebody sets a timer when something
-- has come, due at once, and the keeper looks in a transaction of its own: so nothing ends in the middle of what settles its needs.

-- Arguments: steps whose timers are due, in states 4 or 5, with the tokens of the timers; runs whose bells have rung (timers of step -1):
--            something has come to them that their steps may wait for
-- Locks and tables changed: as decide, and as waits_watch where nothing is decided.
CREATE OR REPLACE FUNCTION millrace_internal.held_due(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], now_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    over record;
BEGIN
    -- one decision for all: own rows come before whatever follows from them (docs/locking.md)
    SELECT array_agg(o.run_id ORDER BY o.run_id, o.step_no) AS runs, array_agg(o.step_no ORDER BY o.run_id, o.step_no) AS steps,
           array_agg(o.token ORDER BY o.run_id, o.step_no) AS tokens, array_agg(o.code ORDER BY o.run_id, o.step_no) AS codes,
           array_agg(o.output ORDER BY o.run_id, o.step_no) AS outputs, array_agg(o.error ORDER BY o.run_id, o.step_no) AS errors
    INTO over
    FROM (SELECT * FROM millrace_internal.waits_over(in_shard, run_ids, step_nos, tokens, now_at)
          UNION ALL SELECT * FROM millrace_internal.fan_outs_over(in_shard, run_ids, step_nos, tokens)
          UNION ALL SELECT * FROM millrace_internal.sub_runs_over(in_shard, run_ids, step_nos, tokens, now_at)) o;
    IF over.runs IS NULL THEN
        PERFORM millrace_internal.waits_watch(in_shard, run_ids, step_nos, tokens, now_at);
        RETURN;
    END IF;
    PERFORM millrace_internal.decide(in_shard, 0, over.runs, over.steps, over.tokens, over.codes, over.outputs, over.errors, NULL);
    PERFORM millrace_internal.waits_forget(in_shard, over.runs, over.steps, over.tokens);
    -- those of which nothing has come yet are looked at once more
    PERFORM millrace_internal.timers_set(in_shard, array_agg(w.run_id), array_agg(w.step_no), array_agg(w.token), array_agg(now_at))
    FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
    JOIN millrace_internal.wait w ON w.run_id = u.run_id AND w.step_no = u.step_no AND w.shard = in_shard AND w.token = u.token AND w.kind = 4
    HAVING count(*) > 0;
END $$;
COMMENT ON FUNCTION millrace_internal.held_due(smallint, bigint[], integer[], integer[], timestamptz) IS 'Ends what the engine holds and what is over.';

-- Runs have ended for whose ends somebody waits (run.awaited). Tables changed: timer.
CREATE OR REPLACE FUNCTION millrace_internal.runs_ring(in_shard smallint, run_ids bigint[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    PERFORM millrace_internal.timers_set(in_shard, array_agg(w.run_id), array_agg(w.step_no), array_agg(w.token), array_agg(millrace_internal.clock()))
    FROM (SELECT w.run_id, w.step_no, w.token FROM millrace_internal.wait w WHERE w.awaited_run_id = ANY (run_ids)
          UNION ALL SELECT o.run_id, o.step_no, o.token FROM millrace_internal.sub_run o WHERE o.child_run_id = ANY (run_ids)) w HAVING count(*) > 0;
END $$;
COMMENT ON FUNCTION millrace_internal.runs_ring(smallint, bigint[]) IS 'Has the keeper look at the steps that wait for the end of these runs.';
