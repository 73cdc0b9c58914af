-- Purpose: deciding over running steps and all that follows, in one transaction; and the report that agents call.

-- The one way in which a running step ends or goes back, whoever says so: its agent, the keeper, an operator.
-- Arguments: in_agent_id  whose steps they are; codes as in logic/finish.sql; classes of failures, as logic/error_class.sql has them
--            in_receipt_no ... max_start  to whom dependents may be handed over; null: they go to the sink
-- Returns:   places of what was applied; what was handed over
-- Locks: own rows, dependents, run rows, receipts, each ascending. Tables changed: step, output, event, run, receipt, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.decide(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], codes smallint[],
    outputs jsonb[], errors text[], elapsed double precision[],
    in_receipt_no bigint DEFAULT NULL, in_queues integer[] DEFAULT NULL, in_handlers integer[] DEFAULT NULL, rooms integer[] DEFAULT NULL, max_start integer DEFAULT 0,
    classes text[] DEFAULT NULL,
    OUT applied integer[], OUT started_runs bigint[], OUT started_steps integer[], OUT started_tokens integer[], OUT started_attempts integer[],
    OUT started_versions integer[], OUT started_traces text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own           record;
    next          record;
    ended_runs    bigint[];
    ended_closing integer[];
    ended_failed  integer[];
    moot_runs     bigint[];     -- runs where a dependent had been decided before what it needs
BEGIN
    -- completions alone, of which there is nothing to tell
    IF 1 = ALL (codes) AND (in_agent_id > 0 OR coalesce(cardinality(array_remove(errors, NULL)), 0) = 0) THEN
        own := millrace_internal.work_complete(in_shard, in_agent_id, run_ids, step_nos, tokens, elapsed,
                                               in_receipt_no, in_queues, in_handlers, rooms, max_start, (SELECT frozen_at FROM millrace_internal.frozen_clock));
        started_runs := own.started_runs; started_steps := own.started_steps;
        started_tokens := own.started_tokens; started_attempts := own.started_attempts;
        started_versions := own.started_versions; started_traces := own.started_traces;
        IF own.ready_runs IS NOT NULL THEN
            PERFORM millrace_internal.sink_push(in_shard, own.ready_runs, own.ready_steps, own.ready_queues, own.ready_handlers,
                                                own.ready_priorities, own.ready_tenants, own.ready_ranks);
        END IF;
        PERFORM millrace_internal.outputs_keep(in_shard, run_ids, step_nos, codes, outputs, own.applied);
        IF own.left_runs IS NOT NULL OR own.ended_runs IS NOT NULL THEN
            next := millrace_internal.settle_left(in_shard, in_agent_id, own.left_runs, own.left_nos, own.left_kinds, own.left_n, own.ended_runs, own.ended_closing,
                                                  in_receipt_no, in_queues, in_handlers,
                                                  millrace_internal.rooms_left(in_shard, in_handlers, rooms, started_runs, started_steps),
                                                  max_start - coalesce(cardinality(started_runs), 0));
            started_runs := started_runs || next.started_runs; started_steps := started_steps || next.started_steps;
            started_tokens := started_tokens || next.tokens; started_attempts := started_attempts || next.attempts;
        END IF;
    ELSE
        IF codes && '{2, 3, 4, 6, 8}' THEN
            PERFORM millrace_internal.lock_doomed(in_shard, in_agent_id, run_ids, step_nos, tokens, codes, classes);
        END IF;
        own := millrace_internal.finish(in_shard, in_agent_id, run_ids, step_nos, tokens, codes, errors, elapsed, classes);
        PERFORM millrace_internal.outputs_keep(in_shard, run_ids, step_nos, codes, outputs, own.applied);
        ended_runs := own.ended_runs; ended_closing := own.ended_closing; ended_failed := own.ended_failed;
        IF own.hit_runs IS NOT NULL THEN
            next := millrace_internal.settle(in_shard, own.hit_runs, own.hit_nos, own.hit_kinds, own.hit_n, own.hit_bad,
                                             in_agent_id, in_receipt_no, in_queues, in_handlers, rooms, max_start);
            started_runs := next.started_runs; started_steps := next.started_steps;
            started_tokens := next.tokens; started_attempts := next.attempts;
            ended_failed := ended_failed || next.ended_failed;
            ended_runs := ended_runs || next.ended_runs; ended_closing := ended_closing || next.ended_closing;
            moot_runs := next.moot_runs;
        END IF;
        IF own.ready_runs IS NOT NULL THEN
            PERFORM millrace_internal.make_ready(in_shard, own.ready_runs, own.ready_steps);
        END IF;
        IF own.waiting_runs IS NOT NULL THEN
            PERFORM millrace_internal.timers_set(in_shard, own.waiting_runs, own.waiting_steps, own.waiting_tokens, own.waiting_due);
        END IF;
    END IF;
    applied := own.applied;
    IF applied IS NULL THEN
        RETURN;
    END IF;
    IF ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, ended_runs, ended_closing, ended_failed);
    END IF;
    IF moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.runs_recount(in_shard, moot_runs);
    END IF;
    PERFORM millrace_internal.receipts_settle(in_shard, in_agent_id, own.settled_receipts, own.settled_n);
    PERFORM millrace_internal.cache_store(in_shard, run_ids, step_nos, codes, outputs, own.applied);
END $$;
COMMENT ON FUNCTION millrace_internal.decide(smallint, integer, bigint[], integer[], integer[], smallint[], jsonb[], text[], double precision[], bigint, integer[], integer[], integer[], integer, text[]) IS
'Outcomes of running steps, with everything that follows from them.';

-- Before the dependents are decided: their conditions may look at outputs. Arguments: as decide; in_applied by place.
CREATE OR REPLACE FUNCTION millrace_internal.outputs_keep(in_shard smallint, run_ids bigint[], step_nos integer[], codes smallint[], outputs jsonb[], in_applied integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stored integer[];
    unkept integer[];
BEGIN
    IF outputs IS NOT NULL AND in_applied IS NOT NULL THEN
        stored := ARRAY(SELECT p FROM unnest(in_applied) p WHERE outputs[p] IS NOT NULL AND codes[p] = 1);
        unkept := millrace_internal.outputs_rule(in_shard, run_ids, step_nos, stored);
        INSERT INTO millrace_internal.output (shard, run_id, step_no, output)
        SELECT in_shard, u.run_id, u.step_no, u.output
        FROM unnest(run_ids, step_nos, codes, outputs) WITH ORDINALITY u (run_id, step_no, code, output, ord)
        WHERE u.ord = ANY (stored) AND (unkept IS NULL OR u.ord <> ALL (unkept));
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.outputs_keep(smallint, bigint[], integer[], smallint[], jsonb[], integer[]) IS 'Stores the outputs of completed steps. Tables changed: output.';

-- Hits of completions that work_complete could not decide, and the ends of runs, which come after them.
-- Arguments: left_* and ended_* as work_complete answers them; the rest as in millrace_internal.decide
-- Returns:   what was handed over
-- Locks and tables changed: as settle, then as close_runs.
CREATE OR REPLACE FUNCTION millrace_internal.settle_left(
    in_shard smallint, in_agent_id integer, left_runs bigint[], left_nos integer[], left_kinds smallint[], left_n integer[], ended_runs bigint[], ended_closing integer[],
    in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_start integer,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next record;
BEGIN
    next := millrace_internal.settle(in_shard, left_runs, left_nos, left_kinds, left_n, array_fill(0, ARRAY[coalesce(cardinality(left_runs), 0)]),
                                     in_agent_id, in_receipt_no, in_queues, in_handlers, rooms, max_start);
    started_runs := next.started_runs; started_steps := next.started_steps; tokens := next.tokens; attempts := next.attempts;
    IF ended_runs IS NOT NULL OR next.ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, ended_runs || next.ended_runs, ended_closing || next.ended_closing,
                                             array_fill(0, ARRAY[coalesce(cardinality(ended_runs), 0)]) || next.ended_failed);
    END IF;
    IF next.moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.runs_recount(in_shard, next.moot_runs);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_left(smallint, integer, bigint[], integer[], smallint[], integer[], bigint[], integer[], bigint, integer[], integer[], integer[], integer) IS
'Decides what a report of completions has left, and ends its runs.';

-- Steps that have been set to ready and whose rows this call holds: into the sink, or parked if their run is paused.
CREATE OR REPLACE FUNCTION millrace_internal.make_ready(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r record;
BEGIN
    UPDATE millrace_internal.step s SET state = 3
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = in_shard AND n.state = 2
    WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2;
    SELECT array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(d.queue_id) AS queues, array_agg(d.handler_id) AS handlers,
           array_agg(millrace_internal.effective_priority(n.priority, d.priority)) AS priorities, array_agg(n.tenant_id) AS tenants,
           array_agg(millrace_internal.rank_of(d.version_id, d.def_no, d.rank)) AS ranks
    INTO r
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = in_shard
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE (u.run_id & 255) = in_shard AND NOT millrace_internal.enters(d, s.element);
    PERFORM millrace_internal.sink_push(in_shard, r.runs, r.steps, r.queues, r.handlers, r.priorities, r.tenants, r.ranks);

    SELECT array_agg(s.run_id ORDER BY s.run_id, s.step_no) AS runs, array_agg(s.step_no ORDER BY s.run_id, s.step_no) AS steps INTO r
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE (u.run_id & 255) = in_shard AND millrace_internal.enters(d, s.element);
    IF r.runs IS NOT NULL THEN
        PERFORM millrace_internal.settle_over(in_shard, over.runs, over.defs, over.states)
        FROM millrace_internal.enter(in_shard, r.runs, r.steps) over WHERE over.runs IS NOT NULL;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.make_ready(smallint, bigint[], integer[]) IS 'Publishes steps that are ready again, and enters those that the engine looks at. Tables changed: step (parked), ready (plain tier); as enter.';

-- Steps have ended without an agent: all that follows.
-- Locks and tables changed: as settle, then as close_runs.
CREATE OR REPLACE FUNCTION millrace_internal.settle_over(in_shard smallint, in_runs bigint[], in_defs integer[], in_states smallint[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest record;
    next record;
BEGIN
    rest := millrace_internal.settle_ended(in_shard, in_runs, in_defs, in_defs, in_states);
    next := millrace_internal.settle(in_shard, rest.hit_runs, rest.hit_nos, NULL, rest.hit_n, rest.hit_bad, NULL, NULL, NULL, NULL, NULL, 0);
    IF rest.ended_runs IS NOT NULL OR next.ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, rest.ended_runs || next.ended_runs, rest.ended_closing || next.ended_closing, rest.ended_failed || next.ended_failed);
    END IF;
    IF next.moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.runs_recount(in_shard, next.moot_runs);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_over(smallint, bigint[], integer[], smallint[]) IS 'Decides what hangs on steps that ended without an agent, and ends their runs.';

-- Arguments: per run (which may occur twice) the closing steps that ended, and the steps that failed
-- Locks: run rows, ascending. Tables changed: run, event; all that on_failure: cancel cancels.
CREATE OR REPLACE FUNCTION millrace_internal.close_runs(in_shard smallint, run_ids bigint[], closing integer[], failed integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    frozen timestamptz := (SELECT frozen_at FROM millrace_internal.frozen_clock);
    awaited bigint[];
    doomed bigint;
    over   bigint[];    -- runs in which a phase has ended that may not be the last
BEGIN
    WITH ended AS MATERIALIZED (
        SELECT u.run_id, sum(u.closing)::integer AS closing, sum(u.failed)::integer AS failed
        FROM unnest(run_ids, closing, failed) u (run_id, closing, failed) WHERE (u.run_id & 255) = in_shard GROUP BY 1 ORDER BY 1),
    closed AS (
        UPDATE millrace_internal.run r
        SET closing_left = r.closing_left - e.closing, steps_failed = r.steps_failed + e.failed,
            state = CASE WHEN r.closing_left > e.closing OR v.phased THEN r.state WHEN r.steps_failed + e.failed > 0 THEN 11 ELSE 10 END,
            finished_at = CASE WHEN r.closing_left <= e.closing AND NOT v.phased THEN coalesce(frozen, clock_timestamp()) END
        FROM ended e JOIN millrace_internal.run o ON o.run_id = e.run_id AND o.shard = in_shard
        JOIN millrace_internal.version v ON v.version_id = o.version_id
        WHERE r.run_id = e.run_id AND r.shard = in_shard
        RETURNING r.run_id, r.state, r.finished_at, r.closing_left, r.awaited),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
        SELECT c.run_id, c.finished_at, pg_current_xact_id()::text::bigint, in_shard, CASE c.state WHEN 10 THEN 4 ELSE 5 END
        FROM closed c WHERE c.finished_at IS NOT NULL)
    SELECT array_agg(c.run_id ORDER BY c.run_id) FILTER (WHERE c.finished_at IS NULL AND c.closing_left <= 0),
           array_agg(c.run_id) FILTER (WHERE c.finished_at IS NOT NULL AND c.awaited)
    INTO over, awaited FROM closed c;
    IF awaited IS NOT NULL THEN
        PERFORM millrace_internal.runs_ring(in_shard, awaited);
    END IF;
    FOREACH doomed IN ARRAY coalesce(over, '{}') LOOP
        PERFORM millrace_internal.run_next_phase(in_shard, doomed, NULL, NULL);
    END LOOP;

    IF 0 < ANY (failed) THEN
        FOR doomed IN
            SELECT DISTINCT r.run_id FROM unnest(run_ids, failed) u (run_id, failed)
            JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard AND r.finished_at IS NULL AND r.phase IS NULL
            JOIN millrace_internal.version v ON v.version_id = r.version_id AND v.on_failure = 1
            WHERE u.failed > 0 ORDER BY 1
        LOOP
            PERFORM millrace_internal.cancel_rest(in_shard, doomed, 11::smallint, 'a step failed');
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.close_runs(smallint, bigint[], integer[], integer[]) IS 'Counts closing steps on their runs and ends the runs that have none left.';

-- Locks: receipts, ascending. Tables changed: receipt.
CREATE OR REPLACE FUNCTION millrace_internal.receipts_settle(in_shard smallint, in_agent_id integer, receipts bigint[], n integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    gone integer;
BEGIN
    -- reports of one agent may run side by side on one receipt: lock in order, then take off or take away
    PERFORM FROM (SELECT receipt_no FROM unnest(receipts) u (receipt_no) ORDER BY 1) u
    CROSS JOIN LATERAL (SELECT FROM millrace_internal.receipt r
                        WHERE r.agent_id = in_agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard FOR UPDATE) r;
    DELETE FROM millrace_internal.receipt r USING unnest(receipts, n) u (receipt_no, n)
    WHERE r.agent_id = in_agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard AND r.open <= u.n;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone < cardinality(receipts) THEN
        UPDATE millrace_internal.receipt r SET open = r.open - u.n FROM unnest(receipts, n) u (receipt_no, n)
        WHERE r.agent_id = in_agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.receipts_settle(smallint, integer, bigint[], integer[]) IS 'Takes settled steps off their receipts; the last one takes the receipt away.';

-- Arrays of one length, or an error; the rows themselves are judged one by one.
CREATE OR REPLACE FUNCTION millrace_internal.report_check(n integer, step_nos integer[], tokens integer[], outcomes text[], outputs text[], errors text[], elapsed double precision[],
    classes text[] DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF n > 100000 THEN
        PERFORM millrace_internal.fail('MR002', format('%s steps in one report are too many', n), NULL, 'Report at most 100,000 steps a call.');
    ELSIF n <> coalesce(cardinality(step_nos), 0) OR n <> coalesce(cardinality(tokens), 0) OR n <> coalesce(cardinality(outcomes), 0)
          OR n <> coalesce(cardinality(outputs), n) OR n <> coalesce(cardinality(errors), n) OR n <> coalesce(cardinality(elapsed), n)
          OR n <> coalesce(cardinality(classes), n) THEN
        PERFORM millrace_internal.fail('MR001', 'the arrays of the report differ in length', NULL, 'Give run_ids, step_nos, tokens and outcomes one element per step; outputs, errors, elapsed and classes too, or null.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.report_check(integer, integer[], integer[], text[], text[], text[], double precision[], text[]) IS 'MR001 for arrays that do not match.';

-- Returns: outcomes as codes (0 where the row is rejected), outputs as JSON, and why a row is rejected.
CREATE OR REPLACE FUNCTION millrace_internal.report_codes(outcomes text[], outputs text[], classes text[], OUT codes smallint[], OUT parsed jsonb[], OUT problems text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF outputs IS NULL AND 'completed' = ALL (outcomes) THEN
        codes := array_fill(1::smallint, ARRAY[cardinality(outcomes)]);
    ELSIF outputs IS NULL OR cardinality(array_remove(outputs, NULL)) = 0 THEN
        SELECT array_agg(coalesce(array_position(ARRAY['completed', 'failed', 'fatal', 'timed_out', 'released'], u.outcome), 0)::smallint ORDER BY u.ord)
        INTO codes FROM unnest(outcomes) WITH ORDINALITY u (outcome, ord);
    ELSE
        SELECT array_agg(CASE WHEN j.problem IS NOT NULL THEN 0
                              ELSE coalesce(array_position(ARRAY['completed', 'failed', 'fatal', 'timed_out', 'released'], u.outcome), 0) END::smallint ORDER BY u.ord),
               array_agg(j.value ORDER BY u.ord), array_agg('MR042 ' || j.problem ORDER BY u.ord)
        INTO codes, parsed, problems
        FROM unnest(outcomes, outputs) WITH ORDINALITY u (outcome, output, ord)
        CROSS JOIN LATERAL millrace_internal.try_jsonb(u.output) j;
    END IF;
    IF classes IS NOT NULL THEN
        codes := ARRAY(SELECT CASE WHEN millrace_internal.class_problem(u.class) IS NULL THEN u.code ELSE 0 END
                       FROM unnest(codes, classes) WITH ORDINALITY u (code, class, ord) ORDER BY u.ord);
    END IF;
    IF 0 = ANY (codes) THEN
        problems := ARRAY(SELECT CASE WHEN u.code = 0 THEN coalesce(u.problem, 'MR001 ' || millrace_internal.class_problem(u.class),
                                                                    format('MR001 "%s" is not an outcome (completed, failed, fatal, timed_out, released)', u.outcome)) END
                          FROM unnest(outcomes, codes, problems, classes) WITH ORDINALITY u (outcome, code, problem, class, ord) ORDER BY u.ord);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.report_codes(text[], text[], text[]) IS 'What an agent says, judged row by row.';

CREATE OR REPLACE FUNCTION millrace_internal.report_answers(run_ids bigint[], step_nos integer[], tokens integer[], problems text[], applied integer[])
RETURNS TABLE (answer text, code text, message text, run_id bigint, step_no integer, token integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.answer,
           CASE a.answer WHEN 'rejected' THEN left(a.problem, 5) WHEN 'stale' THEN 'MR041' WHEN 'unknown' THEN 'MR014' END,
           CASE a.answer WHEN 'rejected' THEN substr(a.problem, 7)
                WHEN 'stale' THEN format('token %s of step %s of run %s is no longer this agent''s', a.token, a.step_no, a.run_id)
                WHEN 'unknown' THEN format('step %s of run %s was never handed out with token %s', a.step_no, a.run_id, a.token) END,
           a.run_id, a.step_no, a.token
    FROM (SELECT u.*, CASE WHEN u.ord = ANY (applied) THEN 'applied'
                           WHEN u.problem IS NOT NULL THEN 'rejected'
                           WHEN s.token >= u.token AND u.token > 0 THEN 'stale' ELSE 'unknown' END AS answer
          FROM unnest(run_ids, step_nos, tokens, problems) WITH ORDINALITY u (run_id, step_no, token, problem, ord)
          LEFT JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = (u.run_id & 255)) a
    ORDER BY a.ord;
END $$;
COMMENT ON FUNCTION millrace_internal.report_answers(bigint[], integer[], integer[], text[], integer[]) IS 'One answer per reported step, in order.';

-- Free slots that are left once steps have been handed over.
CREATE OR REPLACE FUNCTION millrace_internal.rooms_left(in_shard smallint, handler_ids integer[], rooms integer[], started_runs bigint[], started_steps integer[])
RETURNS integer[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF started_runs IS NULL THEN
        RETURN rooms;
    ELSIF cardinality(handler_ids) = 1 THEN
        RETURN ARRAY[rooms[1] - cardinality(started_runs)];
    END IF;
    RETURN ARRAY(
        SELECT h.room - coalesce(t.n, 0)::integer
        FROM unnest(handler_ids, rooms) WITH ORDINALITY h (handler_id, room, ord)
        LEFT JOIN (SELECT d.handler_id, count(*) AS n
                   FROM unnest(started_runs, started_steps) u (run_id, step_no)
                   -- OFFSET 0: key by key, whatever the planner believes about the tables
                   CROSS JOIN LATERAL (SELECT r.version_id FROM millrace_internal.run r WHERE r.run_id = u.run_id AND r.shard = in_shard OFFSET 0) r
                   CROSS JOIN LATERAL (SELECT d.handler_id FROM millrace_internal.step_definition d
                                       WHERE d.version_id = r.version_id AND d.def_no = u.step_no OFFSET 0) d
                   GROUP BY 1) t USING (handler_id)
        ORDER BY h.ord);
END $$;
COMMENT ON FUNCTION millrace_internal.rooms_left(smallint, integer[], integer[], bigint[], integer[]) IS 'Free slots by handler after a hand-over.';

CREATE OR REPLACE FUNCTION millrace.report(
    agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], outcomes text[], outputs text[] DEFAULT NULL, errors text[] DEFAULT NULL,
    elapsed double precision[] DEFAULT NULL, max_steps integer DEFAULT 0, capacity jsonb DEFAULT NULL, max_bytes integer DEFAULT 8388608,
    classes text[] DEFAULT NULL)
RETURNS TABLE (answer text, code text, message text, run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, batch bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    n        integer := coalesce(cardinality(report.run_ids), 0);
    did      record := millrace_internal.work_report(0::smallint, report.agent_id, report.run_ids, report.step_nos, report.tokens,
                                                     -- a report that names classes is not of completions alone
                                                     CASE WHEN report.classes IS NULL THEN report.outcomes END,
                                                     report.outputs, report.errors, report.elapsed, report.max_steps, report.capacity, report.max_bytes);
    agent    millrace_internal.agent;
    free     record;
    checked  record;
    problems text[];    -- why rows are rejected
    rest     record;    -- what is decided in SQL
    more     record;
BEGIN
    IF did.plainly AND cardinality(did.applied) = n THEN
        RETURN QUERY SELECT * FROM millrace_internal.work_report_rows(report.run_ids, report.step_nos, report.tokens,
            did.run_ids, did.step_nos, did.tokens, did.attempts, did.versions, did.traces, did.inputs);
        RETURN;
    END IF;
    IF NOT did.looked THEN
        PERFORM millrace_internal.require_read_committed();
        agent := millrace_internal.agent_get(report.agent_id);
        PERFORM millrace_internal.agent_revive(agent);
        free := millrace_internal.agent_capacity(agent, report.capacity, report.max_steps);
        IF did.left_runs IS NOT NULL OR did.ended_runs IS NOT NULL THEN
            rest := millrace_internal.settle_left(0::smallint, agent.agent_id, did.left_runs, did.left_nos, did.left_kinds, did.left_n, did.ended_runs, did.ended_closing,
                                                  did.receipt_no, agent.queues, free.handler_ids,
                                                  millrace_internal.rooms_left(0::smallint, free.handler_ids, free.rooms, did.run_ids, did.step_nos),
                                                  report.max_steps - coalesce(cardinality(did.run_ids), 0));
            PERFORM millrace_internal.receipts_settle(0::smallint, agent.agent_id, did.settled_receipts, did.settled_n);
            did.run_ids := did.run_ids || rest.started_runs; did.step_nos := did.step_nos || rest.started_steps;
            did.tokens := did.tokens || rest.tokens; did.attempts := did.attempts || rest.attempts;
        ELSIF did.receipt_no IS NULL THEN
            did.receipt_no := nextval('millrace_internal.receipt_no_seq');
            PERFORM millrace_internal.report_check(n, report.step_nos, report.tokens, report.outcomes, report.outputs, report.errors, report.elapsed, report.classes);
            IF 1e9 < ANY (report.elapsed) OR 0 > ANY (report.elapsed) OR octet_length(array_to_string(report.errors, '')) > 10000 THEN
                -- a time that nobody can have measured counts as none; a long error is cut
                SELECT array_agg(CASE WHEN u.elapsed BETWEEN 0 AND 1e9 THEN u.elapsed END ORDER BY u.ord), array_agg(left(u.error, 10000) ORDER BY u.ord)
                INTO report.elapsed, report.errors
                FROM unnest(report.elapsed, report.errors) WITH ORDINALITY u (elapsed, error, ord);
            END IF;
            IF n > 0 THEN
                checked := millrace_internal.report_codes(report.outcomes, report.outputs, report.classes);
                problems := millrace_internal.shape_refusals(0::smallint, report.run_ids, report.step_nos, checked.codes, checked.parsed);
                IF problems IS NOT NULL THEN
                    checked.codes := ARRAY(SELECT CASE WHEN p.problem IS NULL THEN p.code ELSE 0 END::smallint FROM unnest(checked.codes, problems) WITH ORDINALITY p (code, problem, ord) ORDER BY p.ord);
                END IF;
                problems := coalesce((SELECT array_agg(coalesce(p.earlier, p.problem) ORDER BY p.ord) FROM unnest(checked.problems, problems) WITH ORDINALITY p (earlier, problem, ord)), '{}');
                rest := millrace_internal.decide(0::smallint, agent.agent_id, report.run_ids, report.step_nos, report.tokens, checked.codes,
                                                 checked.parsed, report.errors, report.elapsed,
                                                 did.receipt_no, agent.queues, free.handler_ids, free.rooms, report.max_steps, report.classes);
                did.applied := rest.applied;
                did.run_ids := rest.started_runs; did.step_nos := rest.started_steps;
                did.tokens := rest.started_tokens; did.attempts := rest.started_attempts;
                did.versions := rest.started_versions; did.traces := rest.started_traces;
            END IF;
        END IF;
        more := millrace_internal.start_from_sink(0::smallint, agent.agent_id, did.receipt_no, agent.queues, free.handler_ids,
            millrace_internal.rooms_left(0::smallint, free.handler_ids, free.rooms, did.run_ids, did.step_nos),
            report.max_steps - coalesce(cardinality(did.run_ids), 0));
        did.run_ids := did.run_ids || more.run_ids; did.step_nos := did.step_nos || more.step_nos;
        did.tokens := did.tokens || more.tokens; did.attempts := did.attempts || more.attempts;
        did.versions := did.versions || more.versions; did.traces := did.traces || more.traces;
    END IF;

    IF NOT did.plainly THEN
        did.plainly := millrace_internal.hands_out_plainly(0::smallint, report.agent_id, did.receipt_no, did.run_ids, did.step_nos, did.tokens,
                                                           did.versions, report.max_bytes);
    END IF;
    IF did.plainly AND n > 0 AND cardinality(did.applied) = n THEN
        RETURN QUERY SELECT * FROM millrace_internal.work_report_rows(report.run_ids, report.step_nos, report.tokens,
            did.run_ids, did.step_nos, did.tokens, did.attempts, did.versions, did.traces, did.inputs);
        RETURN;
    END IF;
    IF n > 0 AND cardinality(did.applied) = n THEN
        RETURN QUERY SELECT * FROM millrace_internal.work_report_rows(report.run_ids, report.step_nos, report.tokens,
            NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    ELSIF n > 0 THEN
        problems := coalesce(problems, millrace_internal.silent_refusals(report.agent_id, report.run_ids, report.step_nos, report.tokens));
        RETURN QUERY
        SELECT a.answer, a.code, a.message, a.run_id, a.step_no, a.token, NULL::integer, NULL::text, NULL::text, NULL::text,
               NULL::jsonb, NULL::jsonb, NULL::double precision, NULL::integer, NULL::text, NULL::bigint
        FROM millrace_internal.report_answers(report.run_ids, report.step_nos, report.tokens, problems, did.applied) a;
    END IF;
    IF did.plainly THEN
        RETURN QUERY SELECT 'started', NULL::text, NULL::text, w.*
        FROM millrace_internal.work_rows(did.run_ids, did.step_nos, did.tokens, did.attempts, did.versions, did.traces, did.inputs) w;
    ELSE
        RETURN QUERY SELECT 'started', NULL::text, NULL::text, w.*
        FROM millrace_internal.hand_out(0::smallint, report.agent_id, did.receipt_no, did.run_ids, did.step_nos, did.tokens, did.attempts, report.max_bytes, did.versions) w;
    END IF;
END $$;
COMMENT ON FUNCTION millrace.report(integer, bigint[], integer[], integer[], text[], text[], text[], double precision[], integer, jsonb, integer, text[]) IS
'Reports outcomes of steps (classes: what kind of failure, for those that failed), answers each in order (applied, stale, unknown, rejected), and starts up to max_steps further ones: dependents handed over, then others.
A bad row is rejected alone. Errors: MR001 arrays that do not match, MR021 unknown agent, MR023 handler, MR043 isolation. Tables changed and locks: as decide and claim.';
