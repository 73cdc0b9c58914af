-- Purpose: the second pass of every decision: dependents are counted down, and those at zero become ready, waiting, parked
-- or skipped, or are handed over to the agent that reports. Skips count as ends of their own, wave by wave.

-- Arguments: hit_*  what steps that have ended are counted on, each once: its number, its kind, how many have ended, how many of these badly.
--                   Kind 0 is a dependent, of whose needs they are; 1 a step with for_each, of whose elements; 2 a compensation, itself.
--                   No kinds: all are dependents
--            in_agent_id ... max_start  to whom steps may be handed over; in_receipt_no null: to nobody
-- Returns:   what was handed over; by run, closing steps that ended here and steps that failed; runs with hits that had been decided before (after a retry)
-- Locks: dependents, ascending. Tables changed: step, event, timer, ready (plain tier); as settle_gained.
CREATE OR REPLACE FUNCTION millrace_internal.settle(
    in_shard smallint, hit_runs bigint[], hit_nos integer[], hit_kinds smallint[], hit_n integer[], hit_bad integer[],
    in_agent_id integer, in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_start integer,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT ended_failed integer[], OUT moot_runs bigint[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p      record;      -- the plan of one wave: its hits, with all that decides about them
    may    boolean[];   -- which of them the reporting agent gets at once
    done   record;      -- the wave's outcome
    over   record;      -- what ended as the engine entered it
    rest   record;      -- what follows from what has ended
    all_held boolean := false;  -- the rows are locked of all that may be skipped, and of all whose rules look at their needs
BEGIN
    IF 0 < ANY (hit_kinds) THEN
        rest := millrace_internal.settle_gained(in_shard, hit_runs, hit_nos, hit_kinds, hit_n, hit_bad);
        ended_runs := rest.ended_runs; ended_closing := rest.ended_closing; ended_failed := rest.ended_failed;
        hit_runs := rest.hit_runs; hit_nos := rest.hit_nos; hit_n := rest.hit_n; hit_bad := rest.hit_bad;
    END IF;
    WHILE hit_runs IS NOT NULL LOOP
        p := millrace_internal.settle_plan(in_shard, hit_runs, hit_nos, hit_n, hit_bad);
        IF (p.falling_runs IS NOT NULL OR p.looks) AND NOT all_held THEN
            PERFORM millrace_internal.lock_falling(in_shard, p.falling_runs, p.falling_defs, hit_runs, hit_nos);
            all_held := true;
            p := millrace_internal.settle_plan(in_shard, hit_runs, hit_nos, hit_n, hit_bad);
        END IF;
        moot_runs := moot_runs || p.moot_runs;
        IF p.partial_runs IS NOT NULL THEN
            -- steps whose needs end in several calls get their row first, so that all count down the same row
            PERFORM millrace_internal.materialise(in_shard, p.partial_runs, p.partial_defs);
        END IF;
        may := NULL;
        IF in_receipt_no IS NOT NULL AND max_start > 0 THEN
            may := millrace_internal.handover(in_shard, p.runs, p.defs, p.queues, p.handlers, p.priorities, p.tenants, p.ranks, p.promising,
                                              in_queues, in_handlers, rooms, max_start);
        END IF;
        done := millrace_internal.settle_apply(in_shard, p.runs, p.defs, p.versions, p.n, p.bad, p.needs_counts, p.rules, p.verdicts, p.bad_states, p.delays, p.barred, p.entered, p.paused, p.untouched,
                                               p.queues, p.handlers, p.priorities, p.tenants, p.ranks, may, in_agent_id, in_receipt_no);
        IF done.skipped_runs IS NOT NULL AND NOT all_held THEN
            PERFORM millrace_internal.tell_fallen(in_shard, done.skipped_runs, done.skipped_defs);
        END IF;
        IF done.started_runs IS NOT NULL THEN
            started_runs := started_runs || done.started_runs; started_steps := started_steps || done.started_steps;
            tokens := tokens || done.tokens; attempts := attempts || done.attempts;
            max_start := max_start - cardinality(done.started_runs);
        END IF;
        PERFORM millrace_internal.sink_push(in_shard, done.ready_runs, done.ready_steps, done.ready_queues, done.ready_handlers,
                                            done.ready_priorities, done.ready_tenants, done.ready_ranks);
        IF done.waiting_runs IS NOT NULL THEN
            PERFORM millrace_internal.timers_set(in_shard, done.waiting_runs, done.waiting_steps, done.waiting_tokens, done.waiting_due);
        END IF;
        IF p.limited THEN
            PERFORM millrace_internal.deadlines_begin(in_shard, p.runs, p.defs);
        END IF;
        over := millrace_internal.enter(in_shard, done.entering_runs, done.entering_steps);
        rest := millrace_internal.settle_ended(in_shard, done.skipped_runs || over.runs, done.skipped_defs || over.defs, done.skipped_defs || over.defs,
                                               array_fill(12::smallint, ARRAY[coalesce(cardinality(done.skipped_runs), 0)]) || over.states);
        ended_runs := ended_runs || rest.ended_runs;
        ended_closing := ended_closing || rest.ended_closing;
        ended_failed := ended_failed || rest.ended_failed;
        hit_runs := rest.hit_runs; hit_nos := rest.hit_nos; hit_n := rest.hit_n; hit_bad := rest.hit_bad;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.settle(smallint, bigint[], integer[], smallint[], integer[], integer[], integer, bigint, integer[], integer[], integer[], integer) IS
'Counts dependents down and decides those that have no need left.';

-- What ends of elements and of compensations lead to, before any dependent is counted down.
-- Arguments: hit_*  as settle
-- Returns:   the hits of dependents, with those that follow; closing steps that ended, and failures, by run
-- Locks and tables changed: as elements_over, then as compensations_go_on.
CREATE OR REPLACE FUNCTION millrace_internal.settle_gained(
    in_shard smallint, INOUT hit_runs bigint[], INOUT hit_nos integer[], hit_kinds smallint[], INOUT hit_n integer[], INOUT hit_bad integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT ended_failed integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    elements record;    -- steps with for_each
    undone   record;    -- compensations
    whole    record;    -- steps all of whose elements have completed
    rest     record;    -- what follows from them
BEGIN
    SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS nos, array_agg(h.n) AS n, array_agg(h.bad) AS bad
    INTO elements FROM unnest(hit_runs, hit_nos, hit_kinds, hit_n, hit_bad) h (run_id, step_no, kind, n, bad) WHERE h.kind = 1;
    whole := millrace_internal.elements_over(in_shard, elements.runs, elements.nos, elements.n, elements.bad);
    rest := millrace_internal.settle_ended(in_shard, whole.runs, whole.defs, whole.defs, array_fill(10::smallint, ARRAY[coalesce(cardinality(whole.runs), 0)]));

    SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS nos, array_agg(1) AS closing, array_agg(0) AS failed
    INTO undone FROM unnest(hit_runs, hit_nos, hit_kinds) h (run_id, step_no, kind) WHERE h.kind = 2;
    IF undone.runs IS NOT NULL THEN
        PERFORM millrace_internal.compensations_go_on(in_shard, undone.runs, undone.nos);
    END IF;
    ended_runs := rest.ended_runs || undone.runs; ended_closing := rest.ended_closing || undone.closing; ended_failed := rest.ended_failed || undone.failed;

    -- each dependent once
    SELECT array_agg(h.run_id), array_agg(h.step_no), array_agg(h.n), array_agg(h.bad) INTO hit_runs, hit_nos, hit_n, hit_bad
    FROM (SELECT u.run_id, u.step_no, sum(u.n)::integer AS n, sum(u.bad)::integer AS bad
          FROM (SELECT h.run_id, h.step_no, h.n, h.bad FROM unnest(hit_runs, hit_nos, hit_kinds, hit_n, hit_bad) h (run_id, step_no, kind, n, bad) WHERE h.kind = 0
                UNION ALL SELECT * FROM unnest(rest.hit_runs, rest.hit_nos, rest.hit_n, rest.hit_bad)) u
          GROUP BY 1, 2 ORDER BY 1, 2) h;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_gained(smallint, bigint[], integer[], smallint[], integer[], integer[]) IS 'Goes on with elements and compensations.';

-- All that decides about the hits of one wave. A statement of its own, after the own rows were locked: it must see a pause
-- or cancel that was committed while the call waited for them (docs/locking.md).
CREATE OR REPLACE FUNCTION millrace_internal.settle_plan(
    in_shard smallint, hit_runs bigint[], hit_defs integer[], hit_n integer[], hit_bad integer[],
    OUT runs bigint[], OUT defs integer[], OUT versions integer[], OUT n integer[], OUT bad integer[], OUT needs_counts integer[], OUT rules smallint[],
    OUT delays double precision[], OUT barred boolean[], OUT entered boolean[], OUT paused boolean[], OUT untouched boolean[], OUT queues integer[], OUT handlers integer[], OUT priorities smallint[],
    OUT tenants integer[], OUT ranks real[], OUT promising boolean[], OUT partial_runs bigint[], OUT partial_defs integer[], OUT moot_runs bigint[],
    OUT falling_runs bigint[], OUT falling_defs integer[], OUT verdicts boolean[], OUT bad_states smallint[], OUT looks boolean, OUT limited boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    SELECT array_agg(h.run_id), array_agg(h.def_no), array_agg(d.version_id), array_agg(h.n), array_agg(h.bad), array_agg(d.needs_count), array_agg(d.rule),
           array_agg(CASE WHEN r.not_before > now_at THEN extract(epoch FROM r.not_before - now_at) + coalesce(d.delay, 0) ELSE d.delay END),
           array_agg(v.barred AND (d.rule NOT BETWEEN 2 AND 4 OR v.verdict)), array_agg(d.entered), array_agg(r.state = 2), array_agg(s.step_no IS NULL AND d.needs_count = h.n), array_agg(d.queue_id), array_agg(d.handler_id),
           array_agg(millrace_internal.effective_priority(r.priority, d.priority)), array_agg(r.tenant_id),
           array_agg(millrace_internal.rank_of(d.version_id, d.def_no, d.rank)),
           -- likely to become ready in this call, and free to be handed over
           array_agg(millrace_internal.decided(coalesce(s.needs_left, d.needs_count), h.n, d.rule, h.bad + coalesce(s.needs_bad, 0), h.n > h.bad, v.verdict, 2::smallint, 12::smallint) = 2
                     AND coalesce(s.state, 0) = 0 AND d.delay IS NULL AND r.state = 1 AND NOT d.entered AND v.barred IS NOT TRUE),
           array_agg(h.run_id) FILTER (WHERE s.step_no IS NULL AND d.needs_count > h.n),
           array_agg(h.def_no) FILTER (WHERE s.step_no IS NULL AND d.needs_count > h.n),
           array_agg(DISTINCT h.run_id) FILTER (WHERE s.state <> 0 AND d.rule < 10),
           -- skipped at the latest when its last need ends, and others with it
           array_agg(h.run_id) FILTER (WHERE v.may_fall AND d.dependents IS NOT NULL AND coalesce(s.state, 0) = 0),
           array_agg(h.def_no) FILTER (WHERE v.may_fall AND d.dependents IS NOT NULL AND coalesce(s.state, 0) = 0),
           array_agg(v.verdict),
           -- a branch that is not taken is skipped; what a failure above keeps from running has fallen
           array_agg(CASE WHEN v.may_fall AND d.rule IN (0, 2, 10) AND millrace_internal.some_need_fell(in_shard, h.run_id, d.version_id, d.needs) THEN 14 ELSE 12 END::smallint),
           bool_or(d.rule BETWEEN 2 AND 4 OR d.traits ? 'when'), bool_or(d.traits ? 'deadline')
    INTO runs, defs, versions, n, bad, needs_counts, rules, delays, barred, entered, paused, untouched, queues, handlers, priorities, tenants, ranks, promising, partial_runs, partial_defs, moot_runs,
         falling_runs, falling_defs, verdicts, bad_states, looks, limited
    FROM (SELECT * FROM unnest(hit_runs, hit_defs, hit_n, hit_bad) h (run_id, def_no, n, bad)
          WHERE (h.run_id & 255) = in_shard ORDER BY h.run_id, h.def_no) h
    JOIN millrace_internal.run r ON r.run_id = h.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = h.def_no
    LEFT JOIN millrace_internal.step s ON s.run_id = h.run_id AND s.step_no = h.def_no AND s.shard = in_shard
    CROSS JOIN LATERAL (
        SELECT CASE WHEN d.traits ? 'when' AND (coalesce(s.needs_left, d.needs_count) <= h.n OR d.rule = 10) AND coalesce(s.state, 0) = 0
                         -- conditions are about steps whose rule holds
                         AND CASE d.rule WHEN 0 THEN h.bad + coalesce(s.needs_bad, 0) = 0 WHEN 10 THEN h.bad < h.n ELSE true END
                    THEN NOT millrace_internal.conditions_hold(in_shard, h.run_id, d) END AS barred OFFSET 0) c
    CROSS JOIN LATERAL (
        SELECT CASE WHEN d.rule BETWEEN 2 AND 4 AND coalesce(s.needs_left, d.needs_count) <= h.n AND coalesce(s.state, 0) = 0
                    THEN millrace_internal.rule_holds(in_shard, h.run_id, d.version_id, d.needs, d.rule, d.rule_path) END AS verdict,
               c.barred,
               -- a condition may turn out false until all that it looks at has ended, and a step with a cache may end as it is entered
               d.traits ? 'when' AND (d.entered OR coalesce(c.barred, true)) OR d.traits ? 'cache' OR CASE d.rule WHEN 0 THEN h.bad + coalesce(s.needs_bad, 0) > 0 WHEN 1 THEN false WHEN 2 THEN h.bad + coalesce(s.needs_bad, 0) > 0
                           WHEN 10 THEN h.bad = h.n ELSE true END AS may_fall OFFSET 0) v;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_plan(smallint, bigint[], integer[], integer[], integer[]) IS 'Reads what decides about dependents. Changes nothing.';

-- Which of the steps that become ready may be started for the reporting agent at once: those it serves and has room for,
-- best first, and only where nothing that waits for the same queue and handler goes before.
CREATE OR REPLACE FUNCTION millrace_internal.handover(
    in_shard smallint, runs bigint[], defs integer[], queues integer[], handlers integer[], priorities smallint[], tenants integer[], ranks real[],
    promising boolean[], in_queues integer[], in_handlers integer[], rooms integer[], max_start integer)
RETURNS boolean[] LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (
        WITH hit AS MATERIALIZED (
            SELECT u.* FROM unnest(runs, defs, queues, handlers, priorities, tenants, ranks, promising,
                       CASE WHEN true IN (SELECT unnest(promising)) THEN millrace_internal.sink_sort_first(in_shard, queues, handlers, priorities, tenants, runs, ranks, defs) END)
                 WITH ORDINALITY u (run_id, def_no, queue_id, handler_id, priority, tenant_id, rank, promising, first, ord)),
        fit AS MATERIALIZED (
            SELECT h.ord, row_number() OVER (ORDER BY h.priority, h.run_id, h.rank DESC, h.def_no) AS nth,
                   row_number() OVER (PARTITION BY h.handler_id ORDER BY h.priority, h.run_id, h.rank DESC, h.def_no) AS nth_of_handler, f.room
            FROM hit h JOIN unnest(in_handlers, rooms) f (handler_id, room) USING (handler_id)
            WHERE h.promising AND h.first AND h.queue_id = ANY (in_queues))
        SELECT array_agg(f.ord IS NOT NULL ORDER BY h.ord)
        FROM hit h LEFT JOIN fit f ON f.ord = h.ord AND f.nth <= max_start AND f.nth_of_handler <= f.room);
END $$;
COMMENT ON FUNCTION millrace_internal.handover(smallint, bigint[], integer[], integer[], integer[], smallint[], integer[], real[], boolean[], integer[], integer[], integer[], integer) IS
'Which dependents the reporting agent gets at once.';

-- The rule of a step, once one more batch of its needs has ended. Inlined into the statements that use it.
-- Arguments: any_good  one of this batch has completed; verdict  what a rule says that looks at its needs, once all have ended
CREATE OR REPLACE FUNCTION millrace_internal.decided(needs_left integer, n integer, rule smallint, bad integer, any_good boolean, verdict boolean, good_state smallint, bad_state smallint)
RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN rule = 10 AND any_good THEN good_state
                WHEN needs_left > n THEN 0::smallint
                WHEN rule = 1 OR rule = 0 AND bad = 0 OR verdict THEN good_state
                ELSE bad_state END
$$;
COMMENT ON FUNCTION millrace_internal.decided(integer, integer, smallint, integer, boolean, boolean, smallint, smallint) IS
'pending while needs are left that the rule waits for, else the state that the step takes when its rule holds, or does not.';

CREATE OR REPLACE FUNCTION millrace_internal.settle_apply(
    in_shard smallint, runs bigint[], defs integer[], versions integer[], n integer[], bad integer[], needs_counts integer[], rules smallint[],
    verdicts boolean[], bad_states smallint[], delays double precision[], barred boolean[], entered boolean[], paused boolean[], untouched boolean[], queues integer[], handlers integer[], priorities smallint[], tenants integer[],
    ranks real[], may boolean[], in_agent_id integer, in_receipt_no bigint,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[],
    OUT ready_runs bigint[], OUT ready_steps integer[], OUT ready_queues integer[], OUT ready_handlers integer[], OUT ready_priorities smallint[],
    OUT ready_tenants integer[], OUT ready_ranks real[],
    OUT waiting_runs bigint[], OUT waiting_steps integer[], OUT waiting_tokens integer[], OUT waiting_due timestamptz[],
    OUT skipped_runs bigint[], OUT skipped_defs integer[], OUT entering_runs bigint[], OUT entering_steps integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    xact   bigint := pg_current_xact_id()::text::bigint;
BEGIN
    WITH hit AS MATERIALIZED (
        SELECT u.*, CASE WHEN u.barred THEN 12 WHEN u.delay IS NOT NULL THEN 1 WHEN u.paused THEN 3 WHEN u.may THEN 4 ELSE 2 END::smallint AS good_state
        FROM unnest(runs, defs, versions, n, bad, needs_counts, rules, verdicts, bad_states, delays, barred, entered, paused, untouched, queues, handlers, priorities, tenants, ranks, may)
             u (run_id, def_no, version_id, n, bad, needs_count, rule, verdict, bad_state, delay, barred, entered, paused, untouched, queue_id, handler_id, priority, tenant_id, rank, may)
        WHERE (u.run_id & 255) = in_shard),
    made AS MATERIALIZED (
        -- all needs ended in this call and nothing has touched the step before: its first row is its decided row
        SELECT h.*, millrace_internal.decided(h.needs_count, h.n, h.rule, h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) AS state FROM hit h WHERE h.untouched),
    inserted AS (
        INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, attempts, token, needs_bad, agent_id, receipt_no, ready_at, started_at, finished_at)
        SELECT in_shard, m.run_id, m.def_no, m.version_id, m.def_no, m.state, (m.state = 4)::integer, (m.state = 4)::integer, m.bad,
               CASE WHEN m.state = 4 THEN in_agent_id END, CASE WHEN m.state = 4 THEN in_receipt_no END,
               CASE WHEN m.state IN (2, 3, 4) THEN now_at WHEN m.state = 1 THEN now_at + make_interval(secs => m.delay) END, CASE WHEN m.state = 4 THEN now_at END, CASE WHEN m.state >= 12 THEN now_at END
        FROM made m),
    counted AS (
        UPDATE millrace_internal.step s
        SET needs_left = CASE WHEN millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) = 0 THEN s.needs_left - h.n ELSE 0 END,
            needs_bad = s.needs_bad + h.bad,
            state = millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state),
            attempts = s.attempts + (millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) = 4)::integer,
            token = s.token + (millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) = 4)::integer,
            agent_id = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) WHEN 4 THEN in_agent_id ELSE s.agent_id END,
            receipt_no = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) WHEN 4 THEN in_receipt_no ELSE s.receipt_no END,
            ready_at = CASE WHEN millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) IN (2, 3, 4) THEN now_at
                            WHEN millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) = 1 THEN now_at + make_interval(secs => h.delay)
                            ELSE s.ready_at END,
            started_at = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) WHEN 4 THEN now_at ELSE s.started_at END,
            finished_at = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.n > h.bad, h.verdict, h.good_state, h.bad_state) WHEN 12 THEN now_at WHEN 14 THEN now_at END
        FROM hit h
        WHERE NOT h.untouched AND s.run_id = h.run_id AND s.step_no = h.def_no AND s.shard = in_shard AND s.state = 0
        RETURNING h.run_id, h.def_no, h.version_id, s.state, s.attempts, s.token, h.queue_id, h.handler_id, h.priority, h.tenant_id, h.rank, h.delay, h.barred, h.entered),
    decision AS MATERIALIZED (
        SELECT m.run_id, m.def_no, m.version_id, m.state, (m.state = 4)::integer AS attempts, (m.state = 4)::integer AS token,
               m.queue_id, m.handler_id, m.priority, m.tenant_id, m.rank, now_at + make_interval(secs => m.delay) AS due_at, m.barred, m.entered FROM made m
        UNION ALL
        SELECT c.run_id, c.def_no, c.version_id, c.state, c.attempts, c.token, c.queue_id, c.handler_id, c.priority, c.tenant_id, c.rank,
               now_at + make_interval(secs => c.delay), c.barred, c.entered FROM counted c WHERE c.state <> 0),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind, data)
        SELECT d.run_id, now_at, xact, d.def_no, CASE d.state WHEN 4 THEN in_agent_id END, d.attempts, in_shard,
               CASE d.state WHEN 4 THEN 8 WHEN 1 THEN 9 ELSE 13 END, CASE WHEN d.state = 1 THEN jsonb_build_object('due_at', d.due_at)
                                                                          WHEN d.state = 12 AND d.barred THEN '{"reason": "when"}' END
        FROM decision d WHERE d.state IN (1, 4, 12, 14))
    SELECT array_agg(d.run_id) FILTER (WHERE d.state = 4), array_agg(d.def_no) FILTER (WHERE d.state = 4),
           array_agg(d.token) FILTER (WHERE d.state = 4), array_agg(d.attempts) FILTER (WHERE d.state = 4),
           array_agg(d.run_id) FILTER (WHERE d.state = 2 AND NOT d.entered), array_agg(d.def_no) FILTER (WHERE d.state = 2 AND NOT d.entered),
           array_agg(d.queue_id) FILTER (WHERE d.state = 2 AND NOT d.entered), array_agg(d.handler_id) FILTER (WHERE d.state = 2 AND NOT d.entered),
           array_agg(d.priority) FILTER (WHERE d.state = 2 AND NOT d.entered), array_agg(d.tenant_id) FILTER (WHERE d.state = 2 AND NOT d.entered), array_agg(d.rank) FILTER (WHERE d.state = 2 AND NOT d.entered),
           array_agg(d.run_id) FILTER (WHERE d.state = 1), array_agg(d.def_no) FILTER (WHERE d.state = 1),
           array_agg(d.token) FILTER (WHERE d.state = 1), array_agg(d.due_at) FILTER (WHERE d.state = 1),
           array_agg(d.run_id) FILTER (WHERE d.state >= 12), array_agg(d.def_no) FILTER (WHERE d.state >= 12),
           array_agg(d.run_id) FILTER (WHERE d.state = 2 AND d.entered), array_agg(d.def_no) FILTER (WHERE d.state = 2 AND d.entered)
    INTO started_runs, started_steps, tokens, attempts, ready_runs, ready_steps, ready_queues, ready_handlers, ready_priorities, ready_tenants, ready_ranks,
         waiting_runs, waiting_steps, waiting_tokens, waiting_due, skipped_runs, skipped_defs, entering_runs, entering_steps
    FROM decision d;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_apply(smallint, bigint[], integer[], integer[], integer[], integer[], integer[], smallint[], boolean[], smallint[],
    double precision[], boolean[], boolean[], boolean[], boolean[], integer[], integer[], smallint[], integer[], real[], boolean[], integer, bigint) IS
'Writes the decisions of one wave. Tables changed: step, event.';

-- What follows from steps that have just ended, by their states: hits as settle takes them, closing steps and failures by run.
-- A statement of its own, after their rows were locked: a run may have got another version while the call waited for them.
CREATE OR REPLACE FUNCTION millrace_internal.settle_ended(in_shard smallint, in_runs bigint[], in_steps integer[], in_defs integer[], in_states smallint[],
    OUT hit_runs bigint[], OUT hit_nos integer[], OUT hit_kinds smallint[], OUT hit_n integer[], OUT hit_bad integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT ended_failed integer[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF in_runs IS NULL THEN
        RETURN;
    END IF;
    WITH over AS MATERIALIZED (
        SELECT u.run_id, u.state, k.kind, CASE k.kind WHEN 0 THEN d.dependents WHEN 1 THEN ARRAY[u.def_no] ELSE ARRAY[u.step_no] END AS hits,
               k.kind = 0 AND d.closing AS closing, k.kind = 0 AND u.state = 11 AND d.on_error IS NULL AS failed
        FROM unnest(in_runs, in_steps, in_defs, in_states) u (run_id, step_no, def_no, state)
        CROSS JOIN LATERAL (SELECT millrace_internal.hit_kind(u.step_no) AS kind OFFSET 0) k
        JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
        JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.def_no
        WHERE (u.run_id & 255) = in_shard),
    hit AS (SELECT o.run_id, h.step_no, o.kind, count(*)::integer AS n,
                   -- an element that is skipped, its wait being over, has not failed
                   count(*) FILTER (WHERE o.state <> 10 AND (o.kind = 0 OR o.state = 11))::integer AS bad
            FROM over o, unnest(o.hits) h (step_no) GROUP BY 1, 2, 3),
    ended AS (SELECT o.run_id, count(*) FILTER (WHERE o.closing)::integer AS closing, count(*) FILTER (WHERE o.failed)::integer AS failed
              FROM over o WHERE o.closing OR o.failed GROUP BY 1)
    SELECT h.runs, h.nos, h.kinds, h.n, h.bad, e.runs, e.closing, e.failed
    INTO hit_runs, hit_nos, hit_kinds, hit_n, hit_bad, ended_runs, ended_closing, ended_failed
    FROM (SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS nos, array_agg(h.kind) AS kinds, array_agg(h.n) AS n, array_agg(h.bad) AS bad
          FROM (SELECT * FROM hit ORDER BY run_id, step_no, kind) h) h,
         (SELECT array_agg(run_id) AS runs, array_agg(closing) AS closing, array_agg(failed) AS failed FROM ended) e;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_ended(smallint, bigint[], integer[], integer[], smallint[]) IS 'What steps that have ended are counted on, and their runs.';

CREATE OR REPLACE FUNCTION millrace_internal.timers_set(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], due timestamptz[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token)
    SELECT in_shard, u.due_at, u.run_id, u.step_no, u.token FROM unnest(due, run_ids, step_nos, tokens) u (due_at, run_id, step_no, token)
    ON CONFLICT (due_at, run_id, step_no, shard) DO UPDATE SET token = excluded.token;
    PERFORM millrace_internal.keeper_due((SELECT min(d) FROM unnest(due) d));
END $$;
COMMENT ON FUNCTION millrace_internal.timers_set(smallint, bigint[], integer[], integer[], timestamptz[]) IS 'When waiting steps are due. Tables changed: timer.';
