-- Every rule, and expressions with every word and operator, over all combinations of what may become of three needs. A step's name says
-- whether it is to run, as reckoned here from the combination alone.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');

-- What may become of a need: how its step comes to that, and what rules see of it.
CREATE TEMP TABLE outcome (name text, how jsonb, state text, fell boolean);
INSERT INTO outcome VALUES
    ('completed', '{}', 'completed', false),
    ('failed', '{}', 'failed', true),
    ('handled', '{"on_error": "mend"}', 'failed', false),
    ('skipped', '{"when": "$.run.never == true"}', 'skipped', false),
    ('fallen', '{"needs": ["broken"]}', 'skipped', true);

CREATE TEMP TABLE rule (no serial, rule text);
INSERT INTO rule (rule) VALUES ('all_completed'), ('all_done'), ('none_failed'), ('all_failed'), ('any_completed'),
    ('a.completed'), ('a.failed'), ('a.skipped'), ('a.cancelled'), ('a.done'), ('!a.completed'), ('!a.failed'), ('!a.skipped'), ('!a.cancelled'), ('!a.done'),
    ('a.completed && b.completed && c.completed'), ('a.completed || b.completed || c.completed'), ('a.failed || b.failed && c.skipped'), ('(a.failed || b.failed) && c.skipped'),
    ('a.completed && (b.failed || c.skipped)'), ('!(a.completed && b.completed) || c.failed'), ('!a.failed && !(b.skipped || !c.completed)'),
    ('a.done && b.done && c.done'), ('!!a.skipped && ((b.completed || (c.failed)))'), ('a.completed && !a.completed');

-- Whether an expression is true, by PostgreSQL's own logic.
CREATE FUNCTION pg_temp.is_true(expression text, states jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    term  text;
    truth boolean;
BEGIN
    FOR term IN SELECT DISTINCT m[1] FROM regexp_matches(expression, '[abc]\.[a-z]+', 'g') m LOOP
        truth := split_part(term, '.', 2) IN ('done', states ->> split_part(term, '.', 1));
        expression := replace(expression, term, ' ' || truth::text || ' ');
    END LOOP;
    EXECUTE 'SELECT ' || replace(replace(replace(expression, '&&', ' AND '), '||', ' OR '), '!', ' NOT ') INTO truth;
    RETURN truth;
END $$;

-- The steps under test: every rule over every combination, alone, with a condition that is true, and with one that is false.
CREATE TEMP TABLE tested AS
WITH combination AS (
    SELECT row_number() OVER () AS no, ARRAY['a-' || a.name, 'b-' || b.name, 'c-' || c.name] AS needs,
           jsonb_build_object('a', a.state, 'b', b.state, 'c', c.state) AS states,
           (a.state = 'completed')::integer + (b.state = 'completed')::integer + (c.state = 'completed')::integer AS completed,
           a.fell::integer + b.fell::integer + c.fell::integer AS fell,
           (a.fell OR a.name = 'handled') AND (b.fell OR b.name = 'handled') AND (c.fell OR c.name = 'handled') AS all_bad
    FROM outcome a, outcome b, outcome c),
reckoned AS (
    SELECT c.*, r.no AS rule_no, r.rule,
           CASE r.rule WHEN 'all_completed' THEN completed = 3 WHEN 'all_done' THEN true WHEN 'none_failed' THEN fell = 0 WHEN 'all_failed' THEN all_bad
                       WHEN 'any_completed' THEN completed > 0 ELSE pg_temp.is_true(r.rule, c.states) END AS holds
    FROM combination c CROSS JOIN rule r)
SELECT k.*, w.condition, holds AND w.holds_too AS runs,
       -- what a failure above keeps from running; an all_failed or an expression that does not hold is a branch not taken
       NOT holds AND fell > 0 AND rule IN ('all_completed', 'none_failed', 'any_completed') AS falls,
       format('%s-%s%s-%s', rule_no, no, w.condition, CASE WHEN holds AND w.holds_too THEN 'runs' ELSE 'stays' END) AS key
FROM reckoned k CROSS JOIN (VALUES ('', true, NULL), ('-true', true, '$.run.always == true'), ('-false', false, '$.run.never == true')) w (condition, holds_too, predicate)
WHERE w.condition = '' OR rule_no <= 5 OR rule_no = 20;
SELECT count(*), count(*) FILTER (WHERE runs) AS to_run, count(*) FILTER (WHERE falls) AS to_fall FROM tested;

-- Behind each one stands a step with the rule none_failed, which tells a step that fell from one that was skipped. A rule's
-- expression speaks of needs by their keys.
SELECT version FROM millrace.define_workflow((
    SELECT jsonb_build_object('workflow', 'outcomes', 'defaults', '{"handler": "noop"}'::jsonb, 'steps', jsonb_agg(s.step))
    FROM (SELECT '{"key": "broken"}'::jsonb
          UNION ALL SELECT jsonb_build_object('key', n || '-' || name) || CASE name WHEN 'handled' THEN jsonb_build_object('on_error', 'mend-' || n) ELSE how END
                    FROM unnest('{a,b,c}'::text[]) n, outcome
          UNION ALL SELECT jsonb_build_object('key', 'mend-' || n) FROM unnest('{a,b,c}'::text[]) n
          UNION ALL SELECT jsonb_build_object('key', key, 'needs', to_jsonb(needs),
                        'rule', regexp_replace(regexp_replace(regexp_replace(rule, '\ya\.', needs[1] || '.', 'g'), '\yb\.', needs[2] || '.', 'g'), '\yc\.', needs[3] || '.', 'g'))
                        || CASE condition WHEN '-true' THEN '{"when": "$.run.always == true"}' WHEN '-false' THEN '{"when": "$.run.never == true"}' ELSE '{}' END::jsonb
                    FROM tested
          UNION ALL SELECT jsonb_build_object('key', 'behind ' || key, 'needs', jsonb_build_array(key), 'rule', 'none_failed') FROM tested) s (step)));

-- The needs end one by one, in several orders, or many in one report; then all the others run.
CREATE PROCEDURE pg_temp.run(name text, seed double precision, at_once integer) LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    PERFORM setseed(seed);
    PERFORM test.start('outcomes', name, '{"always": true}');
    COMMIT;
    LOOP
        PERFORM FROM millrace.claim(test.agent('x'), 1000);
        COMMIT;
        SELECT array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(s.token) AS tokens,
               array_agg(CASE WHEN s.key ~ '(failed|handled|broken)$' THEN 'fatal' ELSE 'completed' END) AS outcomes INTO held
        FROM (SELECT r.run_id, r.step_no, r.token, d.key, row_number() OVER (ORDER BY d.needs_count, random()) AS place, d.needs_count = 0 AS first
              FROM millrace_internal.step r JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = r.def_no
              WHERE r.state = 4) s
        WHERE s.place <= at_once OR NOT s.first;
        EXIT WHEN held.runs IS NULL;
        PERFORM FROM millrace.report(test.agent('x'), held.runs, held.steps, held.tokens, held.outcomes, max_steps => 0);
        COMMIT;
    END LOOP;
END $$;
-- each wrong step with what became of it
CREATE FUNCTION pg_temp.wrong(name text) RETURNS TABLE (key text, rule text, needs text[], state text, fell boolean) LANGUAGE sql AS $$
    WITH ended AS MATERIALIZED (SELECT s.key, s.state FROM millrace.steps s WHERE s.run_id = test.run(name))
    SELECT t.key, t.rule, t.needs, s.state, b.state = 'skipped'
    FROM tested t LEFT JOIN ended s ON s.key = t.key LEFT JOIN ended b ON b.key = 'behind ' || t.key
    WHERE s.state IS DISTINCT FROM CASE WHEN t.runs THEN 'completed' ELSE 'skipped' END
       OR b.state IS DISTINCT FROM CASE WHEN t.falls THEN 'skipped' ELSE 'completed' END
    ORDER BY 1 LIMIT 10
$$;
CALL pg_temp.run('one by one', 0.3, 1);
SELECT * FROM pg_temp.wrong('one by one');
CALL pg_temp.run('in threes', 0.6, 3);
SELECT * FROM pg_temp.wrong('in threes');
CALL pg_temp.run('at once', 0, 1000);
SELECT * FROM pg_temp.wrong('at once');
SELECT trace, state, steps_failed FROM millrace.runs WHERE workflow = 'outcomes' ORDER BY run_id;
SELECT held FROM millrace.agents WHERE name = 'x';
