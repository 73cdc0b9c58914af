-- Runs that grow at random while agents report and operators steer, against what their definitions say: each step stands as its
-- rule asks for, by the states of its needs, whichever way the run came to have them.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
SELECT test.define('growing', 'a', 'b <- a', 'c <- a {"rule": "all_done"}', 'd <- b c', 'e {"rule": "all_done"}', 'f <- e d {"rule": "any_completed"}', 'g <- f');

-- Some new steps with needs on old and new ones, and sometimes an old one that comes to need something.
CREATE FUNCTION pg_temp.growth(run bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    keys  text[] := ARRAY(SELECT key FROM millrace.steps WHERE run_id = run ORDER BY random());
    n     integer := cardinality(keys);
    fresh text[];
    steps jsonb := '[]';
    needs text[];
BEGIN
    FOR i IN 1..1 + floor(random() * 3)::integer LOOP
        needs := ARRAY(SELECT k FROM unnest(keys[1:8] || fresh) k ORDER BY random() LIMIT floor(random() * 4)::integer);
        steps := steps || jsonb_build_object('key', 'n' || n + i, 'handler', 'noop', 'needs', to_jsonb(needs), 'rule',
            CASE floor(random() * 5)::integer WHEN 0 THEN 'all_done' WHEN 1 THEN 'any_completed' WHEN 2 THEN coalesce(needs[1] || '.completed', 'all_done') ELSE 'all_completed' END);
        fresh := fresh || ('n' || n + i);
    END LOOP;
    RETURN jsonb_build_object('steps', steps) || CASE WHEN random() < 0.6 THEN
        jsonb_build_object('edges', jsonb_build_object(coalesce((SELECT key FROM millrace.steps WHERE run_id = run AND state = 'pending' ORDER BY random() LIMIT 1), keys[1]),
                                                       ARRAY(SELECT k FROM unnest(keys[1:3] || fresh) k ORDER BY random() LIMIT 2))) ELSE '{}' END;
END $$;
-- One act on some run; growth that does not fit, and steering that does not, is refused.
CREATE FUNCTION pg_temp.act(mending boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    run  bigint := (SELECT run_id FROM millrace.runs WHERE workflow = 'growing' AND finished_at IS NULL ORDER BY random() LIMIT 1);
    step text := (SELECT key FROM millrace.steps WHERE run_id = run AND state = 'failed' ORDER BY random() LIMIT 1);
    what integer := floor(random() * 13);
BEGIN
    IF run IS NULL THEN
        RETURN 'all have ended';
    END IF;
    CASE
        WHEN what <= 3 THEN PERFORM FROM millrace.claim(test.agent('x'), 1 + floor(random() * 3)::integer);
        WHEN what <= 6 THEN PERFORM test.report_some('x', 3, '{completed,completed,completed,fatal,released}', floor(random() * 3)::integer);
        WHEN what = 7 THEN PERFORM millrace.pause(run);
        WHEN what = 8 THEN PERFORM millrace.resume(run);
        WHEN what = 9 AND mending AND step IS NOT NULL THEN PERFORM millrace.retry(run, step);
        WHEN what = 10 AND mending AND step IS NOT NULL THEN PERFORM millrace.resolve(run, step);
        WHEN (SELECT steps_total FROM millrace.runs WHERE run_id = run) < 40 THEN
            PERFORM FROM millrace.add_steps(run, pg_temp.growth(run));
            RETURN 'grown';
        ELSE NULL;
    END CASE;
    RETURN 'done';
EXCEPTION WHEN SQLSTATE 'MR032' OR SQLSTATE 'MR033' OR SQLSTATE 'MR034' OR SQLSTATE 'MR035' OR SQLSTATE 'MR072' OR SQLSTATE 'MR105' OR SQLSTATE 'MR106' THEN
    RETURN SQLSTATE;
END $$;

-- What the definition of a run asks for. What has been decided may be overtaken by a retry or a resolve; what waits may not.
CREATE FUNCTION pg_temp.contradictions(run bigint, mending boolean) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    states     jsonb := (SELECT jsonb_object_agg(key, state) FROM millrace.steps WHERE run_id = run);
    definition jsonb := (SELECT v.definition FROM millrace_internal.version v JOIN millrace.runs r USING (version_id) WHERE r.run_id = run);
BEGIN
    RETURN QUERY
    SELECT format('%s is %s under %s: of %s needs %s are open, %s completed', key, state, rule, needs, open, completed)
    FROM (SELECT s.*, n.*,
                 CASE WHEN n.needs = 0 OR s.rule = 'any_completed' AND n.completed > 0 THEN 'go'
                      WHEN n.open > 0 THEN 'wait'
                      WHEN s.rule = 'all_done' OR s.rule = 'all_completed' AND n.completed = n.needs OR s.rule LIKE '%.completed' AND n.named THEN 'go'
                      ELSE 'skip' END AS verdict
          FROM (SELECT step ->> 'key' AS key, states ->> (step ->> 'key') AS state, coalesce(step ->> 'rule', 'all_completed') AS rule, coalesce(step -> 'needs', '[]') AS declared
                FROM jsonb_array_elements(definition -> 'steps') step) s
          CROSS JOIN LATERAL (SELECT count(*) AS needs, count(*) FILTER (WHERE states ->> need NOT IN ('completed', 'failed', 'skipped', 'cancelled')) AS open,
                                     count(*) FILTER (WHERE states ->> need = 'completed') AS completed,
                                     coalesce(bool_or(states ->> need = 'completed') FILTER (WHERE need || '.completed' = s.rule), false) AS named
                              FROM (SELECT DISTINCT need FROM jsonb_array_elements_text(s.declared) need) u) n) judged
    WHERE CASE verdict WHEN 'wait' THEN NOT mending AND state <> 'pending'
                       WHEN 'go' THEN state = 'pending' OR NOT mending AND state = 'skipped'
                       ELSE state = 'pending' OR NOT mending AND state <> 'skipped' END;
    RETURN QUERY
    SELECT format('the run is %s, and its steps are %s', r.state, states) FROM millrace.runs r
    WHERE r.run_id = run AND (r.finished_at IS NULL) = (NOT jsonb_path_exists(states, '$.* ? (@ != "completed" && @ != "failed" && @ != "skipped" && @ != "cancelled")'));
    RETURN QUERY
    SELECT format('step %s is of version %s, and its run of %s', s.step_no, s.version_id, r.version_id)
    FROM millrace_internal.step s JOIN millrace_internal.run r USING (run_id)
    WHERE s.run_id = run AND s.version_id <> r.version_id
      AND (s.state < 10 OR NOT EXISTS (SELECT FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.def_no = s.def_no));
END $$;
CREATE TEMP TABLE tally (act text);
CREATE PROCEDURE pg_temp.storm(seed double precision, mending boolean, INOUT outcome text DEFAULT 'no contradiction') LANGUAGE plpgsql AS $$
DECLARE
    runs bigint[];
BEGIN
    PERFORM setseed(seed);
    FOR round IN 1..3 LOOP
        runs := ARRAY(SELECT millrace.submit_many('growing', array_fill(NULL::jsonb, '{2}')));
        COMMIT;
        FOR i IN 1..50 LOOP
            INSERT INTO tally SELECT pg_temp.act(mending);
            COMMIT;
            outcome := (SELECT format('round %s, act %s: %s', round, i, c) FROM unnest(runs) run, pg_temp.contradictions(run, mending) c LIMIT 1);
            IF outcome IS NOT NULL THEN
                RETURN;
            END IF;
        END LOOP;
        -- left alone, every run ends
        PERFORM millrace.resume(run_id) FROM millrace.runs WHERE workflow = 'growing' AND state = 'paused';
        WHILE EXISTS (SELECT FROM millrace.runs WHERE workflow = 'growing' AND finished_at IS NULL) LOOP
            COMMIT;
            PERFORM FROM millrace.claim(test.agent('x'), 100);
            COMMIT;
            PERFORM test.report_some('x', 100, '{completed}');
        END LOOP;
        outcome := (SELECT format('round %s, at the end: %s', round, c) FROM unnest(runs) run, pg_temp.contradictions(run, mending) c LIMIT 1);
        IF outcome IS NOT NULL THEN
            RETURN;
        END IF;
    END LOOP;
    outcome := 'no contradiction';
END $$;
SET statement_timeout = '5min';
CALL pg_temp.storm(0.17, false);
CALL pg_temp.storm(0.42, false);
CALL pg_temp.storm(0.58, true);
RESET statement_timeout;

-- The runs have grown.
SELECT count(*) FILTER (WHERE act = 'grown') > 10 AS grown FROM tally;
SELECT count(*) FILTER (WHERE grown) > 10 AS grown FROM millrace.runs WHERE workflow = 'growing';

-- Each run's graph is that of its definition, made from scratch with its numbers.
SELECT v.run_id FROM (SELECT v.* FROM millrace_internal.version v JOIN millrace.runs r USING (version_id) WHERE r.workflow = 'growing' AND r.grown OFFSET 0) v
CROSS JOIN LATERAL (SELECT array_agg(f.def_no) AS froms, array_agg(t.def_no) AS tos
                    FROM jsonb_array_elements(v.definition -> 'steps') step CROSS JOIN jsonb_array_elements_text(step -> 'needs') need
                    JOIN millrace_internal.step_definition f ON f.key = need AND f.version_id = v.version_id
                    JOIN millrace_internal.step_definition t ON t.key = step ->> 'key' AND t.version_id = v.version_id) e
CROSS JOIN LATERAL (SELECT array_agg(millrace_internal.rule_code(step ->> 'rule') ORDER BY d.def_no) AS rules
                    FROM jsonb_array_elements(v.definition -> 'steps') step JOIN millrace_internal.step_definition d ON d.key = step ->> 'key' AND d.version_id = v.version_id) r
CROSS JOIN LATERAL (SELECT array_agg(d.expected ORDER BY d.def_no) AS expected,
                           array_agg((d.level, d.rank, d.needs_count, d.closing, d.dependents)::text ORDER BY d.def_no) AS written
                    FROM millrace_internal.step_definition d WHERE d.version_id = v.version_id) d
CROSS JOIN LATERAL millrace_internal.graph_build_numbered(v.steps, e.froms, e.tos, r.rules, d.expected, 16777216) g
WHERE (g.graph <> v.graph OR d.written <> ARRAY(
        SELECT (g.level[n], g.rank[n], g.needs_count[n], g.closing[n], nullif(g.dependents[g.dependents_start[n]:g.dependents_start[n + 1] - 1], '{}'))::text FROM generate_series(1, v.steps) n));
