-- Runs of random graphs, counted by graph_settle and graph_revive over counted edges only, against an oracle that looks
-- at all declared needs of all steps every time. A disagreement raises an exception that names it.
SET search_path = millrace_internal;
SELECT setseed(0.4711);

-- The run under test. Counters are null until a step is reached.
CREATE TEMP TABLE random_step (def_no int PRIMARY KEY, rule smallint, needs_count int, state text, needs_left int, needs_bad int);
CREATE TEMP TABLE random_edge (from_no int, to_no int, counted boolean);
-- What the oracle says about each step: declared needs that are open, and that are terminal but not completed.
CREATE TEMP VIEW need AS
SELECT s.def_no, s.rule, s.state, coalesce(s.needs_left, s.needs_count) AS needs_left, coalesce(s.needs_bad, 0) AS needs_bad,
    count(n) FILTER (WHERE n.state IN ('pending', 'ready')) AS open,
    count(n) FILTER (WHERE n.state IN ('failed', 'skipped')) AS bad,
    count(n) FILTER (WHERE e.counted AND n.state IN ('pending', 'ready')) AS counted_open,
    count(n) FILTER (WHERE e.counted AND n.state IN ('failed', 'skipped')) AS counted_bad
FROM random_step s
LEFT JOIN random_edge e ON e.to_no = s.def_no
LEFT JOIN random_step n ON n.def_no = e.from_no
GROUP BY s.def_no;

CREATE FUNCTION pg_temp.draw_randomly(mixed boolean) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    steps int := 1 + floor(random() * 30);
    density float := power(random(), 2) * 0.6;
    edge_from int[];
    edge_to int[];
    rules smallint[] := ARRAY(SELECT CASE WHEN mixed AND random() < 0.4 THEN 1 ELSE 0 END FROM generate_series(1, steps));
    b record;
BEGIN
    SELECT coalesce(array_agg(f), '{}'), coalesce(array_agg(t), '{}') INTO edge_from, edge_to
    FROM generate_series(1, steps) f, generate_series(1, steps) t WHERE f < t AND random() < density;
    SELECT * INTO b FROM graph_build(steps, edge_from, edge_to, rules, array_fill(1::real, ARRAY[steps]), 0);

    DELETE FROM random_step;
    INSERT INTO random_step
    SELECT d, rules[ordinal], b.needs_count[d], CASE b.needs_count[d] WHEN 0 THEN 'ready' ELSE 'pending' END
    FROM unnest(b.def_no) WITH ORDINALITY o (d, ordinal);
    DELETE FROM random_edge;
    INSERT INTO random_edge SELECT * FROM graph_edges(b.graph);
    RETURN b.graph;
END $$;

CREATE FUNCTION pg_temp.check_run(what text, where_found bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT * INTO wrong FROM need
    WHERE state = 'pending' AND (open = 0 OR needs_left <> counted_open OR needs_bad <> counted_bad);
    IF FOUND THEN
        RAISE EXCEPTION '% in run %: %', what, where_found, wrong;
    END IF;
END $$;

-- Some ready steps end, well or badly, and what follows is applied.
CREATE FUNCTION pg_temp.settle_randomly(graph bytea, run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    settled int[] := ARRAY(SELECT def_no FROM random_step WHERE state = 'ready' ORDER BY random());
    good boolean[];
    wrong record;
BEGIN
    settled := settled[1:1 + floor(random() * cardinality(settled))];
    good := ARRAY(SELECT random() < 0.8 FROM unnest(settled));
    CREATE TEMP TABLE outcome ON COMMIT DROP AS
    SELECT o.* FROM (SELECT coalesce(array_agg(def_no), '{}') AS known, coalesce(array_agg(s.needs_left), '{}') AS lefts,
                         coalesce(array_agg(s.needs_bad), '{}') AS bads
                     FROM random_step s WHERE s.needs_left IS NOT NULL) k,
        graph_settle(graph, settled, good, known, lefts, bads) o;

    UPDATE random_step s SET state = CASE WHEN g THEN 'completed' ELSE 'failed' END
    FROM unnest(settled, good) o (def_no, g) WHERE s.def_no = o.def_no;
    UPDATE random_step s SET needs_left = o.needs_left, needs_bad = o.needs_bad,
        state = CASE o.decision WHEN 0 THEN state WHEN 1 THEN 'ready' ELSE 'skipped' END
    FROM outcome o WHERE s.def_no = o.def_no;

    SELECT n.*, o.decision INTO wrong FROM outcome o JOIN need n USING (def_no)
    WHERE o.decision <> CASE WHEN n.open > 0 THEN 0 WHEN n.rule = 0 AND n.bad > 0 THEN 2 ELSE 1 END;
    IF FOUND THEN
        RAISE EXCEPTION 'decision in run %: %', run, wrong;
    END IF;
    DROP TABLE outcome;
    PERFORM pg_temp.check_run('settle', run);
END $$;

-- Some failed steps are retried, and what follows is applied. Answers how many steps had to wait.
CREATE FUNCTION pg_temp.revive_randomly(graph bytea, run bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    failed int[] := ARRAY(SELECT def_no FROM random_step WHERE state = 'failed' ORDER BY random());
    revived int[] := failed[1:1 + floor(random() * cardinality(failed))];
    fallen int[] := ARRAY(SELECT def_no FROM random_step WHERE state = 'skipped');
    step int;
    waiting int;
BEGIN
    CREATE TEMP TABLE outcome ON COMMIT DROP AS
    SELECT r.* FROM (SELECT array_agg(def_no) AS terminal, array_agg(state = 'completed') AS good
                     FROM random_step WHERE state IN ('completed', 'failed', 'skipped')) t,
        graph_revive(graph, revived, terminal, good, failed) r;
    SELECT count(*) INTO waiting FROM outcome;
    IF EXISTS (SELECT FROM outcome o JOIN random_step s USING (def_no)
               WHERE NOT (s.state IN ('pending', 'skipped') OR s.def_no = ANY (revived))) THEN
        RAISE EXCEPTION 'run %: a step that was decided waits again', run;
    END IF;

    UPDATE random_step SET state = 'ready' WHERE def_no = ANY (revived);
    UPDATE random_step s SET needs_left = o.needs_left, needs_bad = o.needs_bad, state = 'pending'
    FROM outcome o WHERE s.def_no = o.def_no;
    DROP TABLE outcome;

    -- Needs first: a fallen step stays so exactly if none of its needs is open again.
    FOREACH step IN ARRAY fallen LOOP
        IF (SELECT (state = 'pending') <> (open > 0) FROM need WHERE def_no = step) THEN
            RAISE EXCEPTION 'run %: step % is %', run, step, (SELECT n FROM need n WHERE def_no = step);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM need WHERE def_no = ANY (revived) AND (state = 'pending') <> (counted_open > 0)) THEN
        RAISE EXCEPTION 'run %: a revived step does not wait for another', run;
    END IF;
    PERFORM pg_temp.check_run('revive', run);
    RETURN waiting;
END $$;

DO $$
DECLARE
    graph bytea;
    revivals int := 0;
    waiting int := 0;
BEGIN
    FOR run IN 1..200 LOOP
        graph := pg_temp.draw_randomly(run % 2 = 0);
        WHILE EXISTS (SELECT FROM random_step WHERE state = 'ready') LOOP
            PERFORM pg_temp.settle_randomly(graph, run);
            IF random() < 0.3 AND EXISTS (SELECT FROM random_step WHERE state = 'failed') THEN
                waiting := waiting + pg_temp.revive_randomly(graph, run);
                revivals := revivals + 1;
            END IF;
        END LOOP;
        IF EXISTS (SELECT FROM random_step WHERE state = 'pending') THEN
            RAISE EXCEPTION 'run % hangs: %', run, (SELECT array_agg(n) FROM need n WHERE state = 'pending');
        END IF;
    END LOOP;
    RAISE NOTICE 'enough was revived: %', revivals > 200 AND waiting > 200;
END $$;
