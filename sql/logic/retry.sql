-- Purpose: an operator lets what has failed or was cancelled run again.

CREATE OR REPLACE FUNCTION millrace.retry(run_id bigint, key text DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r        millrace_internal.run := millrace_internal.run_get(retry.run_id);
    def      millrace_internal.step_definition;
    revived  integer[];
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF key IS NOT NULL THEN
        def := millrace_internal.step_by_key(r.version_id, retry.key);
    END IF;
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    IF millrace_internal.is_gained(def.def_no) THEN
        RETURN millrace_internal.compensation_retry(r, def);
    END IF;
    SELECT array_agg(s.step_no ORDER BY s.step_no) INTO revived FROM millrace_internal.step s
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
    WHERE s.run_id = r.run_id AND s.shard = r.shard AND NOT millrace_internal.is_gained(s.step_no) AND (s.state = 11 AND d.on_error IS NULL OR (s.state = 13 AND r.finished_at IS NOT NULL));
    IF def.def_no IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard AND s.state = 11) THEN
            PERFORM millrace_internal.fail('MR034', format('step "%s" of run %s has not failed', def.key, r.run_id), NULL, 'Only a failed step can be retried.');
        ELSIF EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard AND NOT millrace_internal.is_gained(s.step_no) AND s.state = 13) THEN
            PERFORM millrace_internal.fail('MR034', format('run %s was cancelled', r.run_id), NULL, 'Retry the whole run: leave out the key.');
        END IF;
        revived := ARRAY[def.def_no];
    ELSIF revived IS NULL THEN
        PERFORM millrace_internal.fail('MR034', format('nothing in run %s has failed or was cancelled', r.run_id), NULL, 'See millrace.steps.');
    END IF;
    RETURN millrace_internal.retry_steps(r, revived);
END $$;
COMMENT ON FUNCTION millrace.retry(bigint, text) IS
'Runs failed steps again (all of a run, or one by its key), with a new allowance of attempts; after a cancel, all that was cancelled. What was skipped because of them is pending again.
Answers how many steps are ready. Errors: MR013 unknown run, MR014 unknown step, MR034 nothing to retry, MR075 the run has been compensated. Locks: the run''s step rows, ascending, then the run. Tables changed: step, run, event, ready (plain tier).';

-- Arguments: r  a run, held with all its steps; revived  those of its steps that run again
-- Returns:   how many of them are ready
CREATE OR REPLACE FUNCTION millrace_internal.retry_steps(r millrace_internal.run, revived integer[])
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    again integer[];
BEGIN
    revived := millrace_internal.phase_reopen(r, revived);
    again := millrace_internal.reopen(r, revived, true);
    UPDATE millrace_internal.step s
    SET version_id = r.version_id, state = 2, attempts = 0, needs_left = 0, ready_at = millrace_internal.clock(), finished_at = NULL
    WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.step_no = ANY (again);
    -- the run first: what the engine carries out itself begins at once, and may end at once
    PERFORM millrace_internal.run_reopen(r);
    PERFORM millrace_internal.make_ready(r.shard, array_fill(r.run_id, ARRAY[cardinality(again)]), again);
    PERFORM millrace_internal.deadlines_begin(r.shard, array_fill(r.run_id, ARRAY[cardinality(again)]), again);
    RETURN cardinality(again);
END $$;
COMMENT ON FUNCTION millrace_internal.retry_steps(millrace_internal.run, integer[]) IS 'Runs steps again that have ended. Tables changed: step, run, dead_letter, timer, event, ready (plain tier).';

-- The skipped and cancelled descendants of revived steps are pending again, counted anew over the closure.
-- Arguments: again  whether the revived steps are to run again, which the log then shows; else only what follows from them
-- Returns: those of the revived steps that wait for no other: the caller says what becomes of them. Locks: held by the caller.
CREATE OR REPLACE FUNCTION millrace_internal.reopen(r millrace_internal.run, revived integer[], again boolean)
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    graph   bytea := (SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = r.version_id);
    ended   record;
    waits   record;
    now_at  timestamptz := millrace_internal.clock();
BEGIN
    SELECT array_agg(s.step_no ORDER BY s.step_no) AS steps, array_agg(s.state = 10 ORDER BY s.step_no) AS good,
           coalesce(array_agg(s.step_no) FILTER (WHERE s.state = 11), '{}') AS failed,
           min(s.started_at) AS started_at
    INTO ended FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard AND NOT millrace_internal.is_gained(s.step_no) AND s.state >= 10;
    SELECT array_agg(v.def_no) AS steps, array_agg(v.needs_left) AS needs_left, array_agg(v.needs_bad) AS needs_bad INTO waits
    FROM millrace_internal.graph_revive(graph, revived, ended.steps, ended.good, ended.failed) v;

    WITH reset AS (
        UPDATE millrace_internal.step s
        SET version_id = r.version_id, state = 0, attempts = 0, needs_left = w.needs_left, needs_bad = w.needs_bad, finished_at = NULL, ready_at = NULL
        FROM unnest(waits.steps, waits.needs_left, waits.needs_bad) w (def_no, needs_left, needs_bad)
        WHERE s.run_id = r.run_id AND s.step_no = w.def_no AND s.shard = r.shard AND s.state IN (0, 11, 12, 13, 14) AND (again OR s.step_no <> ALL (revived))
        RETURNING s.step_no)
    SELECT array_agg(reset.step_no) INTO waits.steps FROM reset;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind)
    SELECT r.run_id, now_at, pg_current_xact_id()::text::bigint, n, 0, r.shard, 16
    FROM (SELECT unnest(revived) WHERE again UNION SELECT unnest(waits.steps)) u (n)
    WHERE n = ANY (ended.steps) ORDER BY n;
    DELETE FROM millrace_internal.dead_letter l WHERE l.run_id = r.run_id AND l.step_no = ANY (revived) AND l.shard = r.shard;
    -- the steps will tell of their new start only
    UPDATE millrace_internal.run n SET started_at = least(n.started_at, ended.started_at) WHERE n.run_id = r.run_id AND n.shard = r.shard;
    RETURN ARRAY(SELECT n FROM unnest(revived) n WHERE n <> ALL (coalesce(waits.steps, '{}')) ORDER BY n);
END $$;
COMMENT ON FUNCTION millrace_internal.reopen(millrace_internal.run, integer[], boolean) IS 'Takes back what followed from the end of these steps. Tables changed: step, run, dead_letter, event.';

-- A run goes on after steps were reopened, or ends anew if nothing is left to do. The caller holds its steps and its row.
CREATE OR REPLACE FUNCTION millrace_internal.run_reopen(r millrace_internal.run)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF r.finished_at IS NOT NULL THEN
        UPDATE millrace_internal.run n SET state = 1, finished_at = NULL WHERE n.run_id = r.run_id AND n.shard = r.shard;
        INSERT INTO millrace_internal.long_run (run_id, shard) VALUES (r.run_id, r.shard) ON CONFLICT DO NOTHING;
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
        VALUES (r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.shard, 7);
    END IF;
    PERFORM millrace_internal.run_recount(r.shard, r.run_id);
END $$;
COMMENT ON FUNCTION millrace_internal.run_reopen(millrace_internal.run) IS 'Sets an ended run running again. Tables changed: run, long_run, event.';

-- Counts anew what a run's end waits for. Once steps have been reopened that is more than the closing steps: a dependent may
-- have been decided before what it needs now runs again (all_done has let it run), and what has no other dependents is the last of its path.
-- Locks: the run's row. Tables changed: run, event.
CREATE OR REPLACE FUNCTION millrace_internal.run_recount(in_shard smallint, in_run_id bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r millrace_internal.run;
BEGIN
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = in_run_id AND n.shard = in_shard FOR NO KEY UPDATE;
    IF r.finished_at IS NOT NULL THEN
        RETURN;
    END IF;
    WITH known AS MATERIALIZED (
        SELECT d.def_no, d.closing, d.dependents, d.finally, coalesce(s.state, 0) AS state, millrace_internal.is_handled(s.state, d.on_error) AS handled
        FROM millrace_internal.step_definition d
        LEFT JOIN millrace_internal.step s ON s.run_id = in_run_id AND s.step_no = d.def_no AND s.shard = in_shard
        WHERE d.version_id = r.version_id AND NOT millrace_internal.is_gained(d.def_no)),
    undoing AS (
        SELECT count(*) AS n FROM millrace_internal.step s WHERE r.phase IS NOT NULL AND s.run_id = in_run_id AND millrace_internal.is_compensation(s.step_no) AND s.shard = in_shard AND s.state < 10),
    leading_on AS (
        SELECT DISTINCT k.def_no FROM known k, unnest(k.dependents) dependent JOIN known n ON n.def_no = dependent AND n.state = 0
        WHERE k.state < 10 AND NOT k.closing)
    SELECT count(*) FILTER (WHERE k.state < 10 AND l.def_no IS NULL AND k.finally = coalesce(r.phase = 2, false)) + (SELECT u.n FROM undoing u), count(*) FILTER (WHERE k.state = 11 AND NOT k.handled)
    INTO r.closing_left, r.steps_failed
    FROM known k LEFT JOIN leading_on l USING (def_no);
    IF r.closing_left = 0 AND (SELECT v.phased FROM millrace_internal.version v WHERE v.version_id = r.version_id) THEN
        UPDATE millrace_internal.run n SET closing_left = 0, steps_failed = r.steps_failed WHERE n.run_id = in_run_id AND n.shard = in_shard;
        PERFORM millrace_internal.run_next_phase(in_shard, in_run_id, NULL, NULL);
        RETURN;
    ELSIF r.closing_left = 0 THEN
        r.state := CASE WHEN r.steps_failed > 0 THEN 11 ELSE 10 END;
        r.finished_at := millrace_internal.clock();
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
        VALUES (in_run_id, r.finished_at, pg_current_xact_id()::text::bigint, in_shard, CASE r.state WHEN 10 THEN 4 ELSE 5 END);
    END IF;
    UPDATE millrace_internal.run n SET closing_left = r.closing_left, steps_failed = r.steps_failed, state = r.state, finished_at = r.finished_at
    WHERE n.run_id = in_run_id AND n.shard = in_shard;
    IF r.awaited AND r.finished_at IS NOT NULL THEN
        PERFORM millrace_internal.runs_ring(in_shard, ARRAY[in_run_id]);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.run_recount(smallint, bigint) IS 'Counts the ends that a reopened run waits for, and ends it if there are none.';

-- Locks: run rows, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.runs_recount(in_shard smallint, run_ids bigint[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.run_recount(in_shard, u.run_id) FROM (SELECT DISTINCT run_id FROM unnest(run_ids) run_id ORDER BY 1) u;
END $$;
COMMENT ON FUNCTION millrace_internal.runs_recount(smallint, bigint[]) IS 'run_recount for several runs, each once.';
