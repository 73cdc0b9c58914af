-- Purpose: `for_each`: one step of a definition becomes one step an element. The engine holds the step itself as running; its elements
-- are steps that the run gains, claimed and retried like any other. What it is spread over is stored once, and sliced from there.

-- Numbers for n steps that a run gains. Tables changed: gained. Locks: the run's row there.
CREATE OR REPLACE FUNCTION millrace_internal.gain_numbers(in_shard smallint, in_run_id bigint, n integer)
RETURNS integer LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO millrace_internal.gained AS g (shard, run_id, next_no) VALUES (in_shard, in_run_id, millrace_internal.last_defined_no() + 1 + n)
    ON CONFLICT (run_id, shard) DO UPDATE SET next_no = g.next_no + n
    RETURNING g.next_no - n
$$;
COMMENT ON FUNCTION millrace_internal.gain_numbers(smallint, bigint, integer) IS 'The first of n numbers for steps beside those of the version.';

-- Returns: what a step is spread over, as an array, in chunks where it asks for them; or why there is none
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_items(in_shard smallint, in_run_id bigint, d millrace_internal.step_definition, OUT items jsonb, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    spread jsonb := d.traits -> 'for_each';
    chunk  integer := CASE jsonb_typeof(spread) WHEN 'object' THEN (spread ->> 'chunk')::numeric::integer END;
BEGIN
    items := millrace_internal.input_fill(CASE jsonb_typeof(spread) WHEN 'object' THEN spread -> 'in' ELSE spread END,
                                          millrace_internal.context_of(in_shard, in_run_id, d));
    IF jsonb_typeof(items) <> 'array' THEN
        problem := format('MR044: for_each found %s where an array should be', CASE jsonb_typeof(items) WHEN 'null' THEN 'nothing' ELSE 'a value of type ' || jsonb_typeof(items) END);
    ELSIF chunk > 1 THEN
        SELECT coalesce(jsonb_agg(c.items ORDER BY c.nth), '[]') INTO items
        FROM (SELECT (e.ord - 1) / chunk AS nth, jsonb_agg(e.item ORDER BY e.ord) AS items FROM jsonb_array_elements(items) WITH ORDINALITY e (item, ord) GROUP BY 1) c;
    END IF;
    IF problem IS NULL AND jsonb_array_length(items) > 100000 THEN
        problem := format('MR044: for_each has %s elements, more than 100,000', jsonb_array_length(items));
    END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    problem := 'MR044: ' || SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_out_items(smallint, bigint, millrace_internal.step_definition) IS 'What a step is spread over.';

-- Steps with for_each begin. One that ran before, and is spread over the same, goes on where it was: what completed stays.
-- Arguments: steps that are ready, and whose rows this call holds; those of other kinds, and elements, are passed over
-- Tables changed: fan_out, fan_out_block, gained, step, output, event, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.fan_outs_enter(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    s      record;
    d      millrace_internal.step_definition;
    f      millrace_internal.fan_out;
    found  record;
    known  boolean;     -- it is spread over what it was spread over before
BEGIN
    FOR s IN
        SELECT n.run_id, n.step_no, n.version_id, n.def_no
        FROM unnest(run_ids, step_nos) u (run_id, step_no)
        JOIN millrace_internal.step n ON n.run_id = u.run_id AND n.step_no = u.step_no AND n.shard = in_shard AND n.state = 2 AND n.element IS NULL
        JOIN millrace_internal.step_definition t ON t.version_id = n.version_id AND t.def_no = n.def_no AND t.traits ? 'for_each'
        WHERE (u.run_id & 255) = in_shard ORDER BY 1, 2
    LOOP
        SELECT * INTO d FROM millrace_internal.step_definition t WHERE t.version_id = s.version_id AND t.def_no = s.def_no;
        found := millrace_internal.fan_out_items(in_shard, s.run_id, d);
        SELECT * INTO f FROM millrace_internal.fan_out o WHERE o.run_id = s.run_id AND o.step_no = s.step_no AND o.shard = in_shard;
        known := f.run_id IS NOT NULL AND found.problem IS NULL AND f.problem IS NULL
            AND found.items = (SELECT coalesce(jsonb_agg(e.item ORDER BY b.block_no, e.ord), '[]')
                               FROM millrace_internal.fan_out_block b, jsonb_array_elements(b.items) WITH ORDINALITY e (item, ord)
                               WHERE b.run_id = s.run_id AND b.step_no = s.step_no AND b.shard = in_shard);
        IF f.run_id IS NOT NULL AND NOT known THEN
            PERFORM millrace_internal.fan_out_forget(in_shard, f);
        END IF;
        IF NOT known THEN
            f := millrace_internal.fan_out_begin(in_shard, s.run_id, s.step_no, d, found.items, found.problem);
        END IF;
        f.token := (millrace_internal.engine_hold(in_shard, ARRAY[s.run_id], ARRAY[s.step_no], 4::smallint,
            ARRAY[jsonb_strip_nulls(jsonb_build_object('elements', f.elements, 'first_step', CASE WHEN f.elements > 0 THEN f.first_no END))]))[1];
        PERFORM millrace_internal.fan_out_go_on(in_shard, f);
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_outs_enter(smallint, bigint[], integer[]) IS 'Spreads steps over their elements.';

-- Tables changed: fan_out, fan_out_block, gained.
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_begin(in_shard smallint, in_run_id bigint, in_step_no integer, d millrace_internal.step_definition, items jsonb, in_problem text)
RETURNS millrace_internal.fan_out LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    spread jsonb := CASE jsonb_typeof(d.traits -> 'for_each') WHEN 'object' THEN d.traits -> 'for_each' END;
    n      integer := CASE WHEN in_problem IS NULL THEN jsonb_array_length(items) ELSE 0 END;
    f      millrace_internal.fan_out;
BEGIN
    INSERT INTO millrace_internal.fan_out (shard, run_id, step_no, token, elements, first_no, parallel, fail_fast, problem)
    VALUES (in_shard, in_run_id, in_step_no, 0, n, CASE WHEN n > 0 THEN millrace_internal.gain_numbers(in_shard, in_run_id, n) ELSE 0 END,
            (spread ->> 'parallel')::numeric::integer, coalesce(spread ->> 'failures', 'fail_fast') = 'fail_fast', in_problem)
    RETURNING * INTO f;
    IF n > 0 THEN
        INSERT INTO millrace_internal.fan_out_block (shard, run_id, step_no, block_no, items)
        SELECT in_shard, in_run_id, in_step_no, (e.ord - 1) / 256, jsonb_agg(e.item ORDER BY e.ord) FROM jsonb_array_elements(items) WITH ORDINALITY e (item, ord) GROUP BY 4;
    END IF;
    RETURN f;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_out_begin(smallint, bigint, integer, millrace_internal.step_definition, jsonb, text) IS 'Stores what a step is spread over.';

-- A step that is spread over something else than before: its earlier elements go, with what they have answered; the log keeps them.
-- Tables changed: fan_out, fan_out_block, step, output.
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_forget(in_shard smallint, f millrace_internal.fan_out)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM millrace_internal.output o WHERE o.run_id = f.run_id AND o.step_no BETWEEN f.first_no AND f.first_no + f.elements - 1 AND o.shard = in_shard AND f.elements > 0;
    DELETE FROM millrace_internal.step s WHERE s.run_id = f.run_id AND s.step_no BETWEEN f.first_no AND f.first_no + f.elements - 1 AND s.shard = in_shard AND f.elements > 0;
    DELETE FROM millrace_internal.fan_out_block b WHERE b.run_id = f.run_id AND b.step_no = f.step_no AND b.shard = in_shard;
    DELETE FROM millrace_internal.fan_out o WHERE o.run_id = f.run_id AND o.step_no = f.step_no AND o.shard = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_out_forget(smallint, millrace_internal.fan_out) IS 'Takes the elements of an earlier fan-out away.';

-- The step is held under a new token: elements that did not complete run (again), as many as may; one without elements is over.
-- Tables changed: fan_out, step, event, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_go_on(in_shard smallint, f millrace_internal.fan_out)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    WITH reset AS (
        UPDATE millrace_internal.step s SET state = 0, attempts = 0, ready_at = NULL, finished_at = NULL
        WHERE s.run_id = f.run_id AND s.step_no BETWEEN f.first_no AND f.first_no + f.started - 1 AND s.shard = in_shard AND s.state > 10 AND f.started > 0
        RETURNING s.run_id, s.step_no),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind)
        SELECT r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.step_no, 0, in_shard, 16 FROM reset r ORDER BY r.step_no)
    SELECT min(r.step_no) INTO f.again_no FROM reset r;
    UPDATE millrace_internal.fan_out o SET token = f.token, ended = f.started, failed = 0, again_no = f.again_no, over = f.elements = f.started AND f.again_no IS NULL
    WHERE o.run_id = f.run_id AND o.step_no = f.step_no AND o.shard = in_shard RETURNING * INTO f;
    IF f.over THEN
        PERFORM millrace_internal.timers_set(in_shard, ARRAY[f.run_id], ARRAY[f.step_no], ARRAY[f.token], ARRAY[millrace_internal.clock()]);
    ELSE
        PERFORM millrace_internal.elements_start(in_shard, f);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_out_go_on(smallint, millrace_internal.fan_out) IS 'Lets the elements of a step run.';

-- As many elements begin as may run at once: those first that run again, then others, which get their rows.
-- Tables changed: fan_out, step, ready (plain tier); as enter.
CREATE OR REPLACE FUNCTION millrace_internal.elements_start(in_shard smallint, f millrace_internal.fan_out)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    room   integer := coalesce(f.parallel - (f.started - f.ended), f.elements);
    fresh  integer;
    again  integer[];
    steps  integer[];
    now_at timestamptz := millrace_internal.clock();
    g      record;      -- what all elements have in common
BEGIN
    IF room <= 0 OR (f.started = f.elements AND f.again_no IS NULL) THEN
        RETURN;
    END IF;
    SELECT s.version_id, s.def_no, d.queue_id, d.handler_id, millrace_internal.effective_priority(r.priority, d.priority) AS priority, r.tenant_id,
           millrace_internal.rank_of(d.version_id, d.def_no, d.rank) AS rank, CASE r.state WHEN 2 THEN 3 ELSE 2 END AS state, millrace_internal.enters(d, 0) AS entered
    INTO g
    FROM millrace_internal.step s
    JOIN millrace_internal.run r ON r.run_id = s.run_id AND r.shard = s.shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE s.run_id = f.run_id AND s.step_no = f.step_no AND s.shard = in_shard;
    IF f.again_no IS NOT NULL THEN
        again := ARRAY(SELECT s.step_no FROM millrace_internal.step s
                       WHERE s.run_id = f.run_id AND s.step_no BETWEEN f.again_no AND f.first_no + f.started - 1 AND s.shard = in_shard AND s.state = 0 ORDER BY 1 LIMIT room);
        UPDATE millrace_internal.step s SET state = g.state, ready_at = now_at WHERE s.run_id = f.run_id AND s.step_no = ANY (again) AND s.shard = in_shard;
        f.again_no := (SELECT s.step_no FROM millrace_internal.step s
                       WHERE s.run_id = f.run_id AND s.step_no BETWEEN again[cardinality(again)] AND f.first_no + f.started - 1 AND s.shard = in_shard AND s.state = 0 ORDER BY 1 LIMIT 1);
    END IF;
    fresh := least(f.elements - f.started, room - coalesce(cardinality(again), 0));
    steps := coalesce(again, '{}') || ARRAY(SELECT generate_series(f.first_no + f.started, f.first_no + f.started + fresh - 1));
    INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, element, state, ready_at)
    SELECT in_shard, f.run_id, no, g.version_id, g.def_no, no - f.first_no, g.state, now_at FROM unnest(steps) no WHERE no >= f.first_no + f.started;
    UPDATE millrace_internal.fan_out o SET started = f.started + fresh, ended = f.ended - coalesce(cardinality(again), 0), again_no = f.again_no
    WHERE o.run_id = f.run_id AND o.step_no = f.step_no AND o.shard = in_shard;
    IF g.entered THEN
        PERFORM millrace_internal.make_ready(in_shard, array_fill(f.run_id, ARRAY[cardinality(steps)]), steps);
    ELSIF g.state = 2 THEN
        PERFORM millrace_internal.sink_push(in_shard, array_fill(f.run_id, n), steps, array_fill(g.queue_id, n), array_fill(g.handler_id, n),
            array_fill(g.priority, n), array_fill(g.tenant_id, n), array_fill(g.rank, n)) FROM (VALUES (ARRAY[cardinality(steps)])) c (n);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.elements_start(smallint, millrace_internal.fan_out) IS 'Starts as many elements as may run.';

-- Elements have ended: others may start, or the step is over. It ends here where it completes and nothing that its end would touch is
-- held by another call; else the keeper ends it, in a transaction of its own (docs/locking.md).
-- Arguments: steps with for_each, how many of their elements ended, how many of these badly
-- Returns:   steps that have completed
-- Locks: rows of fan_out; the step and its dependents, SKIP LOCKED. Tables changed: fan_out, step, output, event, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.elements_over(in_shard smallint, in_runs bigint[], in_defs integer[], in_n integer[], in_bad integer[], OUT runs bigint[], OUT defs integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    hit record;
    f   millrace_internal.fan_out;
BEGIN
    FOR hit IN SELECT u.run_id, u.def_no, sum(u.n) AS n, sum(u.bad) AS bad FROM unnest(in_runs, in_defs, in_n, in_bad) u (run_id, def_no, n, bad) GROUP BY 1, 2 ORDER BY 1, 2 LOOP
        UPDATE millrace_internal.fan_out o SET ended = o.ended + hit.n, failed = o.failed + hit.bad,
            over = o.over OR (o.ended + hit.n >= o.elements AND o.again_no IS NULL) OR (o.fail_fast AND o.failed + hit.bad > 0)
        WHERE o.run_id = hit.run_id AND o.step_no = hit.def_no AND o.shard = in_shard AND NOT o.over
        RETURNING * INTO f;
        IF NOT FOUND THEN
            CONTINUE;
        ELSIF NOT f.over THEN
            PERFORM millrace_internal.elements_start(in_shard, f);
        ELSIF f.failed = 0 AND millrace_internal.fan_out_completes(in_shard, f) THEN
            runs := runs || f.run_id; defs := defs || f.step_no;
        ELSE
            PERFORM millrace_internal.timers_set(in_shard, ARRAY[f.run_id], ARRAY[f.step_no], ARRAY[f.token], ARRAY[millrace_internal.clock()]);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.elements_over(smallint, bigint[], integer[], integer[], integer[]) IS 'Counts elements that have ended.';

-- Ends a step whose elements have all completed, if that waits for nobody. Tables changed: step, output, event.
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_completes(in_shard smallint, f millrace_internal.fan_out)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    output jsonb := millrace_internal.fan_out_output(in_shard, f);
    nos    integer[];
BEGIN
    SELECT f.step_no || d.dependents INTO nos
    FROM millrace_internal.step s JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE s.run_id = f.run_id AND s.step_no = f.step_no AND s.shard = in_shard AND s.state = 4 AND s.token = f.token;
    IF output IS NULL OR nos IS NULL
       OR (SELECT count(*) FROM millrace_internal.step s WHERE s.run_id = f.run_id AND s.step_no = ANY (nos) AND s.shard = in_shard)
          > (SELECT count(*) FROM (SELECT FROM millrace_internal.step s WHERE s.run_id = f.run_id AND s.step_no = ANY (nos) AND s.shard = in_shard
                                   FOR NO KEY UPDATE SKIP LOCKED) held) THEN
        RETURN false;
    END IF;
    WITH ended AS (
        UPDATE millrace_internal.step s SET state = 10, finished_at = now_at, error = NULL
        WHERE s.run_id = f.run_id AND s.step_no = f.step_no AND s.shard = in_shard AND s.state = 4 AND s.token = f.token
        RETURNING s.run_id, s.step_no, s.attempts),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind)
        SELECT e.run_id, now_at, pg_current_xact_id()::text::bigint, e.step_no, e.attempts, in_shard, 11 FROM ended e)
    INSERT INTO millrace_internal.output (shard, run_id, step_no, output) SELECT in_shard, e.run_id, e.step_no, output FROM ended e;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_out_completes(smallint, millrace_internal.fan_out) IS 'Ends a step whose elements have all completed.';

-- Returns: the outputs of all elements in order, null for those without; null where they are too large for one value
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_output(in_shard smallint, f millrace_internal.fan_out)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF (SELECT sum(pg_column_size(o.output)) FROM millrace_internal.output o
        WHERE o.run_id = f.run_id AND o.step_no BETWEEN f.first_no AND f.first_no + f.elements - 1 AND o.shard = in_shard) > 100000000 THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT coalesce(jsonb_agg(CASE WHEN s.state = 10 THEN o.output END ORDER BY i), '[]')
            FROM generate_series(0, f.elements - 1) i
            LEFT JOIN millrace_internal.step s ON s.run_id = f.run_id AND s.step_no = f.first_no + i AND s.shard = in_shard
            LEFT JOIN millrace_internal.output o ON o.run_id = f.run_id AND o.step_no = f.first_no + i AND o.shard = in_shard);
END $$;
COMMENT ON FUNCTION millrace_internal.fan_out_output(smallint, millrace_internal.fan_out) IS 'The output of a step with for_each.';

-- Steps with for_each whose timers are due (logic/held.sql). Where one has failed, its other elements are cancelled here, before the
-- step itself is decided, with all rows of its run in hand.
-- Locks: all step rows of runs with a failure, ascending. Tables changed: as elements_cancel.
CREATE OR REPLACE FUNCTION millrace_internal.fan_outs_over(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[])
RETURNS TABLE (run_id bigint, step_no integer, token integer, code smallint, output jsonb, error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    stopping bigint[];
    f        millrace_internal.fan_out;
BEGIN
    SELECT array_agg(DISTINCT o.run_id ORDER BY o.run_id) INTO stopping
    FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
    JOIN millrace_internal.fan_out o ON o.run_id = u.run_id AND o.step_no = u.step_no AND o.shard = in_shard AND o.token = u.token AND o.over AND o.ended < o.elements;
    IF stopping IS NOT NULL THEN
        PERFORM millrace_internal.lock_steps(in_shard, stopping, run_ids, step_nos);
    END IF;
    FOR f IN
        SELECT o.* FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
        JOIN millrace_internal.fan_out o ON o.run_id = u.run_id AND o.step_no = u.step_no AND o.shard = in_shard AND o.token = u.token AND o.over
        JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 4 AND s.token = u.token AND s.agent_id = 0
        ORDER BY 1, 2
    LOOP
        IF f.ended < f.elements THEN
            PERFORM millrace_internal.elements_cancel(in_shard, f);
        END IF;
        run_id := f.run_id; step_no := f.step_no; token := f.token; output := NULL; error := f.problem;
        IF f.problem IS NULL AND f.failed > 0 AND f.fail_fast THEN
            SELECT format('element %s failed: %s', s.element, coalesce(s.error, 'no reason given')) INTO error
            FROM millrace_internal.step s WHERE s.run_id = f.run_id AND s.step_no BETWEEN f.first_no AND f.first_no + f.started - 1 AND s.shard = in_shard AND s.state = 11
            ORDER BY s.element LIMIT 1;
        ELSIF f.problem IS NULL THEN
            output := millrace_internal.fan_out_output(in_shard, f);
            error := CASE WHEN output IS NULL THEN 'MR042: the outputs of the elements are larger than 100 MB together' END;
        END IF;
        code := CASE WHEN error IS NULL THEN 1 ELSE 3 END;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.fan_outs_over(smallint, bigint[], integer[], integer[]) IS 'How steps with for_each end whose time has come.';

-- Elements that have not ended are cancelled, their agents told. The caller holds their rows. Tables changed: step, event, receipt, revocation.
CREATE OR REPLACE FUNCTION millrace_internal.elements_cancel(in_shard smallint, f millrace_internal.fan_out)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    held   record;
    now_at timestamptz := millrace_internal.clock();
BEGIN
    FOR held IN
        SELECT s.agent_id, array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(s.token) AS tokens, array_agg(s.receipt_no) AS receipts
        FROM millrace_internal.step s
        WHERE s.run_id = f.run_id AND s.step_no BETWEEN f.first_no AND f.first_no + f.started - 1 AND s.shard = in_shard AND s.state = 4 AND s.agent_id > 0
        GROUP BY s.agent_id ORDER BY s.agent_id
    LOOP
        PERFORM millrace_internal.revoke(held.agent_id, held.runs, held.steps, held.tokens, 'cancelled');
        PERFORM millrace_internal.receipts_settle(in_shard, held.agent_id, array_agg(u.receipt_no), array_agg(u.n))
        FROM (SELECT receipt_no, count(*)::integer AS n FROM unnest(held.receipts) receipt_no GROUP BY 1) u;
    END LOOP;
    PERFORM millrace_internal.sub_runs_stop(in_shard, array_agg(f.run_id), array_agg(i)) FROM generate_series(f.first_no, f.first_no + f.started - 1) i HAVING count(*) > 0;
    WITH gone AS (
        UPDATE millrace_internal.step s SET state = 13, finished_at = now_at
        WHERE s.run_id = f.run_id AND s.step_no BETWEEN f.first_no AND f.first_no + f.started - 1 AND s.shard = in_shard AND s.state < 10
        RETURNING s.step_no, s.attempts, s.agent_id)
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
    SELECT f.run_id, now_at, pg_current_xact_id()::text::bigint, g.step_no, CASE WHEN g.attempts > 0 THEN nullif(g.agent_id, 0) END, g.attempts, in_shard, 14 FROM gone g ORDER BY g.step_no;
    DELETE FROM millrace_internal.wait w WHERE w.run_id = f.run_id AND w.step_no BETWEEN f.first_no AND f.first_no + f.started - 1 AND w.shard = in_shard;
    PERFORM millrace_internal.batch_leave(in_shard, f.run_id);
END $$;
COMMENT ON FUNCTION millrace_internal.elements_cancel(smallint, millrace_internal.fan_out) IS 'Cancels what is left of a fan-out.';

-- Returns: {"element", "index"}: one of the elements that a step is spread over
CREATE OR REPLACE FUNCTION millrace_internal.element_of(in_shard smallint, in_run_id bigint, in_step_no integer, in_element integer)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('element', b.items -> (in_element % 256), 'index', in_element)
            FROM millrace_internal.fan_out_block b
            WHERE b.run_id = in_run_id AND b.step_no = in_step_no AND b.block_no = in_element / 256 AND b.shard = in_shard);
END $$;
COMMENT ON FUNCTION millrace_internal.element_of(smallint, bigint, integer, integer) IS 'An element and its index, for the input of its step.';
