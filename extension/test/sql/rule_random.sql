-- Random graphs with random rules and outcomes: every step ends as its rule says, by the ends of its needs, computed here anew.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');

-- Each step needs up to three of the ten before it. A key's last letter is its outcome: c completes, f fails.
CREATE FUNCTION pg_temp.definition(name text, steps integer) RETURNS jsonb LANGUAGE sql AS $$
    WITH step AS MATERIALIZED (
        SELECT n, format('s%s%s', n, CASE WHEN random() < 0.3 THEN 'f' ELSE 'c' END) AS key FROM generate_series(1, steps) n),
    need AS MATERIALIZED (
        SELECT s.n, b.key FROM step s CROSS JOIN LATERAL (
            SELECT b.key FROM step b WHERE b.n < s.n AND b.n >= s.n - 10 ORDER BY md5(b.key || s.n || random()) LIMIT (s.n * 7919) % 4) b)
    SELECT jsonb_build_object('workflow', name, 'defaults', '{"handler": "noop"}'::jsonb, 'steps', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'key', s.key, 'needs', e.needs,
        'rule', CASE WHEN e.needs IS NOT NULL THEN (ARRAY['all_completed', 'all_completed', 'all_done', 'none_failed', 'all_failed', 'any_completed',
                      (e.needs ->> 0) || '.completed || ' || (e.needs ->> -1) || '.failed', '!(' || (e.needs ->> 0) || '.skipped)'])[1 + floor(random() * 8)] END)) ORDER BY s.n))
    FROM step s LEFT JOIN (SELECT n, jsonb_agg(key) AS needs FROM need GROUP BY n) e USING (n)
$$;
-- Works until nothing is left, a few steps a call, in a random order of reports.
CREATE PROCEDURE pg_temp.work() LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    LOOP
        PERFORM FROM millrace.claim(test.agent('x'), 1 + floor(random() * 4)::integer);
        COMMIT;
        SELECT array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(s.token) AS tokens,
               array_agg(CASE right(s.key, 1) WHEN 'f' THEN 'fatal' ELSE 'completed' END) AS outcomes INTO held
        FROM (SELECT * FROM millrace.steps s WHERE s.state = 'running' ORDER BY random() LIMIT 1 + floor(random() * 4)) s;
        EXIT WHEN held.runs IS NULL;
        PERFORM FROM millrace.report(test.agent('x'), held.runs, held.steps, held.tokens, held.outcomes, max_steps => floor(random() * 3)::integer);
        COMMIT;
    END LOOP;
END $$;
-- The end that each step must have. `fell`: it failed, or a failure above kept it from running.
CREATE FUNCTION pg_temp.differences(of_run bigint) RETURNS TABLE (key text, rule text, state text, due text) LANGUAGE plpgsql AS $$
DECLARE
    s      record;
    ends   jsonb := '{}';
    fell   jsonb := '{}';
    n      integer;  good integer;  bad integer;  holds boolean;
BEGIN
    FOR s IN SELECT e.step ->> 'key' AS key, coalesce(e.step ->> 'rule', 'all_completed') AS rule, coalesce(e.step -> 'needs', '[]') AS needs, v.state
             FROM millrace.runs r JOIN millrace.workflows w USING (workflow, version)
             CROSS JOIN LATERAL jsonb_array_elements(w.definition -> 'steps') WITH ORDINALITY e (step, ord)
             JOIN millrace.steps v ON v.run_id = r.run_id AND v.key = e.step ->> 'key'
             WHERE r.run_id = of_run ORDER BY e.ord LOOP
        SELECT count(*), count(*) FILTER (WHERE ends ->> k = 'completed'), count(*) FILTER (WHERE (fell ->> k)::boolean) INTO n, good, bad
        FROM jsonb_array_elements_text(s.needs) k;
        holds := CASE s.rule WHEN 'all_completed' THEN good = n WHEN 'all_done' THEN true WHEN 'none_failed' THEN bad = 0
                             WHEN 'all_failed' THEN bad = n WHEN 'any_completed' THEN good > 0
                             ELSE CASE WHEN left(s.rule, 1) = '!' THEN ends ->> (s.needs ->> 0) <> 'skipped'
                                       ELSE ends ->> (s.needs ->> 0) = 'completed' OR ends ->> (s.needs ->> -1) = 'failed' END END OR n = 0;
        due := CASE WHEN NOT holds THEN 'skipped' WHEN right(s.key, 1) = 'f' THEN 'failed' ELSE 'completed' END;
        ends := ends || jsonb_build_object(s.key, due);
        fell := fell || jsonb_build_object(s.key, due = 'failed' OR (NOT holds AND bad > 0 AND s.rule IN ('all_completed', 'none_failed', 'any_completed')));
        IF s.state <> due THEN
            key := s.key; rule := s.rule; state := s.state;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
CREATE PROCEDURE pg_temp.try(seed double precision, INOUT found text DEFAULT 'as the rules say') LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    PERFORM setseed(seed);
    FOR i IN 1..12 LOOP
        PERFORM millrace.define_workflow(pg_temp.definition('random', 5 + 3 * i));
        PERFORM millrace.submit('random') FROM generate_series(1, 2);
    END LOOP;
    COMMIT;
    CALL pg_temp.work();
    SELECT r.run_id, d.* INTO wrong FROM millrace.runs r CROSS JOIN LATERAL pg_temp.differences(r.run_id) d WHERE r.workflow = 'random' LIMIT 1;
    IF FOUND THEN
        found := format('%s (%s) is %s, not %s', wrong.key, wrong.rule, wrong.state, wrong.due);
    END IF;
END $$;
CALL pg_temp.try(0.11);
CALL pg_temp.try(0.37);
CALL pg_temp.try(0.81);
SELECT count(*), count(*) FILTER (WHERE finished_at IS NULL) AS alive,
       count(*) FILTER (WHERE (state = 'failed') <> (steps_failed > 0)) AS misnamed FROM millrace.runs WHERE workflow = 'random';
SELECT held FROM millrace.agents WHERE name = 'x';
