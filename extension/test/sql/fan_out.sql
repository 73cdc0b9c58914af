-- Fan-out (`for_each`): a step for each element of an array; its output is the array of their outputs, in order.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
-- A run with its elements counted, in a line.
CREATE FUNCTION pg_temp.show(name text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('%s: %s', (SELECT state FROM millrace.runs WHERE run_id = test.run(name)), string_agg(part, ', ' ORDER BY step_no))
    FROM (SELECT min(step_no) AS step_no, key || CASE WHEN element IS NOT NULL THEN '[]' ELSE '' END || ' ' || state || CASE WHEN element IS NOT NULL THEN format(' x%s', count(*)) ELSE '' END AS part
          FROM millrace.steps WHERE run_id = test.run(name) GROUP BY key, state, element IS NOT NULL) p
$$;
-- An agent takes one step and reports it, with the input that it got as its output.
CREATE FUNCTION pg_temp.echo(outcome text DEFAULT 'completed', steps integer DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    w record;
    done text;
BEGIN
    FOR w IN SELECT * FROM millrace.claim(test.agent('e'), steps) LOOP
        PERFORM FROM millrace.report(test.agent('e'), ARRAY[w.run_id], ARRAY[w.step_no], ARRAY[w.token], ARRAY[outcome],
                                     ARRAY[CASE WHEN outcome = 'completed' THEN w.input::text END], ARRAY['broken']);
        done := concat_ws(' ', done, w.key || coalesce('[' || w.element || ']', ''));
    END LOOP;
    RETURN done;
END $$;
SELECT test.register('e', '{echo}');
CREATE FUNCTION pg_temp.define(workflow text, VARIADIC steps text[]) RETURNS integer LANGUAGE sql AS $$
    SELECT (millrace.define_workflow(jsonb_build_object('workflow', workflow, 'defaults', '{"handler": "echo"}'::jsonb, 'steps', (SELECT jsonb_agg(s::jsonb ORDER BY ord) FROM unnest(steps) WITH ORDINALITY u (s, ord))))).version
$$;

-- Over the run's input: elements with their index, and nothing else that they did not ask for; the join has all of it in order.
SELECT pg_temp.define('each', '{"key": "each", "for_each": "$.run.items"}', '{"key": "join", "needs": ["each"]}');
SELECT test.start('each', 'three', '{"items": ["a", {"b": 1}, null]}');
SELECT pg_temp.show('three');
SELECT key, element, input, attempt FROM millrace.claim(test.agent('e'), 1);
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.show('three');
SELECT answer FROM millrace.steps s, millrace.report(test.agent('e'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], '{completed}', '{"\"first\""}') WHERE s.run_id = test.run('three') AND s.state = 'running' AND s.element IS NOT NULL;
SELECT pg_temp.show('three');
SELECT pg_temp.echo();
SELECT pg_temp.show('three');
SELECT key, element, output FROM millrace.steps WHERE run_id = test.run('three') ORDER BY step_no;
SELECT event, step, attempt, data FROM test.log('three');
SELECT steps_total, steps_completed FROM millrace.runs WHERE run_id = test.run('three');
SELECT steps_total, steps_pending, fraction_done FROM millrace.run_progress WHERE run_id = test.run('three');

-- Nothing to spread over: it completes, with an empty array. What is no array fails it.
SELECT test.start('each', 'empty', '{"items": []}'), test.start('each', 'object', '{"items": {}}'), test.start('each', 'missing');
SELECT test.at(0);
SELECT pg_temp.show('empty'), pg_temp.show('object'), pg_temp.show('missing');
SELECT key, output, error FROM millrace.steps WHERE run_id IN (test.run('empty'), test.run('object'), test.run('missing')) AND key = 'each' ORDER BY run_id;
SELECT input FROM millrace.claim(test.agent('e'));

-- So many at once; a path that finds many values; chunks; inputs of one's own; spread over what another has answered.
SELECT pg_temp.define('each-two', '{"key": "list"}', '{"key": "two", "needs": ["list"], "for_each": {"in": "$.needs.list.rows[*] ? (@ > 1)", "parallel": 2}, "input": {"n": "$.element", "i": "$.index", "of": "$.needs.list.name"}}',
    '{"key": "chunks", "needs": ["two"], "for_each": {"in": "$.needs.two", "chunk": 2}, "input": "$.element[*].n"}', '{"key": "join", "needs": ["chunks"], "input": "$.needs.chunks"}');
SELECT test.start('each-two', 'parallel');
SELECT answer FROM millrace.claim(test.agent('e')) c, millrace.report(test.agent('e'), ARRAY[c.run_id], ARRAY[c.step_no], ARRAY[c.token], '{completed}', '{"{\"name\": \"l\", \"rows\": [1, 2, 3, 4, 5, 6]}"}');
SELECT pg_temp.show('parallel');
SELECT pg_temp.echo(steps => 10);
SELECT pg_temp.show('parallel');
SELECT pg_temp.echo(steps => 10);
SELECT pg_temp.echo(steps => 10);
SELECT pg_temp.show('parallel');
SELECT input FROM millrace.claim(test.agent('e'), 2);
SELECT answer FROM millrace.steps s, millrace.report(test.agent('e'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], '{completed}', ARRAY[s.element::text]) WHERE s.run_id = test.run('parallel') AND s.state = 'running' AND s.element IS NOT NULL;
SELECT input FROM millrace.claim(test.agent('e'));

-- The first failure ends the step, and cancels the others; those that run are told.
SELECT pg_temp.define('each-fails', '{"key": "each", "for_each": [1, 2, 3, 4], "retry": {"limit": 1, "backoff": 0}}', '{"key": "after", "needs": ["each"]}', '{"key": "anyway", "needs": ["each"], "rule": "all_done"}');
SELECT test.start('each-fails', 'fails');
SELECT count(*) FROM millrace.claim(test.agent('e'), 1);
SELECT pg_temp.echo();
SELECT pg_temp.echo('failed');
SELECT pg_temp.show('fails');
SELECT pg_temp.echo('fatal');
SELECT pg_temp.show('fails');
SELECT test.at(0);
SELECT pg_temp.show('fails');
SELECT key, error FROM millrace.steps WHERE run_id = test.run('fails') AND state = 'failed' ORDER BY step_no;
SELECT jsonb_array_length(millrace.heartbeat(test.agent('e')) -> 'revoked');
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.show('fails');
-- A retry runs what did not complete, and keeps what did.
SELECT millrace.retry(test.run('fails'));
SELECT pg_temp.show('fails');
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.show('fails');
SELECT output FROM millrace.steps WHERE run_id = test.run('fails') AND key = 'each' AND element IS NULL;

-- collect: all run, and it completes whatever became of them.
SELECT pg_temp.define('each-collect', '{"key": "each", "for_each": {"in": "$.run", "failures": "collect"}, "input": "$.element"}', '{"key": "after", "needs": ["each"]}');
SELECT test.start('each-collect', 'collect', '["a", "b", "c"]');
SELECT count(*) FROM millrace.claim(test.agent('e'), 1) c, millrace.report(test.agent('e'), ARRAY[c.run_id], ARRAY[c.step_no], ARRAY[c.token], '{completed}', '{7}');
SELECT count(*) FROM millrace.claim(test.agent('e'), 2) c, millrace.report(test.agent('e'), ARRAY[c.run_id], ARRAY[c.step_no], ARRAY[c.token], '{fatal}');
SELECT test.at(0);
SELECT pg_temp.show('collect');
SELECT output FROM millrace.steps WHERE run_id = test.run('collect') AND key = 'each' AND element IS NULL;

-- Cancel, pause and resume, an agent that is lost.
SELECT test.start('each', 'cancelled', '[]'), test.start('each', 'paused', '{"items": [1, 2, 3]}');
SELECT test.at(0);
SELECT millrace.pause(test.run('paused'));
SELECT test.claim('e', 5);
SELECT millrace.resume(test.run('paused'));
SELECT count(*) FROM millrace.claim(test.agent('e'), 2);
SELECT test.at(11);
SELECT pg_temp.show('paused');
SELECT millrace.cancel(test.run('paused'));
SELECT pg_temp.show('paused');
SELECT millrace.retry(test.run('paused'));
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.show('paused');
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null

-- However many of a cancelled run's elements run again: not more at once than may.
SELECT pg_temp.define('each-again', '{"key": "each", "for_each": {"in": "$.run", "failures": "collect", "parallel": 2}, "input": "$.element"}', '{"key": "after", "needs": ["each"]}');
SELECT test.start('each-again', 'again', '[0, 1, 2, 3, 4, 5, 6]');
SELECT pg_temp.echo('fatal', 2);
SELECT pg_temp.echo();
SELECT pg_temp.echo('fatal', 2);
SELECT count(*) FROM millrace.claim(test.agent('e'), 1);
SELECT millrace.cancel(test.run('again'));
SELECT pg_temp.show('again');
SELECT millrace.retry(test.run('again'));
SELECT pg_temp.show('again');
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.echo();
SELECT millrace.pause(test.run('again'));
SELECT pg_temp.show('again');
SELECT millrace.resume(test.run('again'));
SELECT pg_temp.echo('fatal', 1);
SELECT pg_temp.echo(steps => 5);
SELECT test.at(11);
SELECT pg_temp.echo(steps => 5);
SELECT pg_temp.show('again');
SELECT output FROM millrace.steps WHERE run_id = test.run('again') AND key = 'each' AND element IS NULL;

-- What found nothing to be spread over finds it when it is retried.
SELECT pg_temp.define('each-anew', '{"key": "a"}', '{"key": "each", "needs": ["a"], "rule": "all_done", "for_each": "$.needs.a"}', '{"key": "j", "needs": ["each"]}');
SELECT test.start('each-anew', 'anew');
SELECT pg_temp.echo('fatal', steps => 3);
SELECT test.at(11);
SELECT pg_temp.show('anew');
SELECT millrace.resolve(test.run('anew'), 'a', '[1, 2]');
SELECT millrace.retry(test.run('anew'), 'each');
SELECT pg_temp.show('anew');
SELECT pg_temp.echo(steps => 3);
SELECT pg_temp.echo();
SELECT pg_temp.show('anew');

-- Many: started in one go, ended by batches of plain reports.
SELECT test.define('each-many', 'each {"for_each": "$.run"}', 'join <- each');
SELECT test.start('each-many', 'many', (SELECT jsonb_agg(i) FROM generate_series(1, 2000) i));
CREATE FUNCTION pg_temp.batch() RETURNS bigint LANGUAGE sql AS $$
    WITH w AS MATERIALIZED (SELECT * FROM millrace.claim(test.agent('x'), 300))
    SELECT count(*) FROM (SELECT array_agg(run_id) AS r, array_agg(step_no) AS s, array_agg(token) AS t FROM w) a, millrace.report(test.agent('x'), a.r, a.s, a.t, array_fill('completed'::text, ARRAY[cardinality(a.r)]))
$$;
SELECT pg_temp.batch();
SELECT pg_temp.batch();
SELECT pg_temp.batch();
SELECT pg_temp.batch();
SELECT pg_temp.batch();
SELECT pg_temp.batch();
SELECT pg_temp.batch();
SELECT pg_temp.show('many');
SELECT pg_temp.batch();
SELECT pg_temp.show('many');

-- Mistakes.
SELECT path, code, message FROM millrace.validate_workflow('{"workflow": "w", "defaults": {"handler": "noop"}, "steps": [{"key": "a", "for_each": 1},
    {"key": "z", "for_each": [1], "cache": {"key": 1, "ttl": 1}}, {"key": "b", "for_each": "items"}, {"key": "c", "for_each": "$.("},
    {"key": "d", "for_each": {"over": 1}}, {"key": "e", "for_each": {"in": "$.run", "parallel": 0, "chunk": 1.5, "failures": "ignore"}}]}');
