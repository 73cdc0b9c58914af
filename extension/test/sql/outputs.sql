-- What a definition says about outputs: their shape, how long they stay, whether other steps take them over.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', '{http,noop,sql}');
DELETE FROM millrace_internal.cache \g /dev/null
-- Everything of some handler, claimed one by one, with an answer by key.
CREATE PROCEDURE pg_temp.work(answers jsonb DEFAULT '{}', INOUT done text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
    step record;
    said record;
BEGIN
    LOOP
        SELECT * INTO step FROM millrace.claim(test.agent('x'));
        EXIT WHEN NOT FOUND;
        COMMIT;
        IF step.handler = 'sql' THEN
            done := ltrim(done || ' ' || step.key);
            BEGIN
                PERFORM millrace.execute_sql(test.agent('x'), step.run_id, step.step_no, step.token);
            EXCEPTION WHEN OTHERS THEN
                done := done || format(' (%s %s)', SQLSTATE, SQLERRM);
                PERFORM FROM millrace.report(test.agent('x'), ARRAY[step.run_id], ARRAY[step.step_no], ARRAY[step.token], '{fatal}', NULL, ARRAY[SQLERRM]);
            END;
        ELSE
            SELECT * INTO said FROM millrace.report(test.agent('x'), ARRAY[step.run_id], ARRAY[step.step_no], ARRAY[step.token], '{completed}',
                                                    CASE WHEN answers ? step.key THEN ARRAY[(answers -> step.key)::text] END);
            done := ltrim(done || ' ' || step.key || coalesce(format(' (%s %s: %s)', said.answer, said.code, nullif(said.message, '')), ''));
            IF said.answer = 'rejected' THEN
                PERFORM FROM millrace.report(test.agent('x'), ARRAY[step.run_id], ARRAY[step.step_no], ARRAY[step.token], '{fatal}', NULL, ARRAY[said.code || ' ' || said.message]);
            END IF;
        END IF;
        COMMIT;
    END LOOP;
END $$;

-- Shapes: a row is refused alone, with the place; without an output where one is declared, too.
SELECT test.define('shapes', 'a {"output_shape": {"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}}',
    'b {"output_shape": {"type": ["string", "null"]}}', 'c {"handler": "sql", "with": {"statement": "select 7 as total"}, "output_shape": {"maximum": 5}}', 'd <- a b');
SELECT test.start('shapes', 'good');
CALL pg_temp.work('{"a": {"total": 5}, "b": "x"}');
SELECT test.start('shapes', 'wrong');
CALL pg_temp.work('{"a": {"total": "5"}, "b": 5}');
SELECT test.start('shapes', 'silent');
CALL pg_temp.work();
SELECT test.show('good'), test.show('wrong'), test.show('silent');
SELECT key, error FROM millrace.steps WHERE run_id = test.run('silent') AND error IS NOT NULL ORDER BY step_no;
-- In one report with others: the good ones are applied.
SELECT test.start('shapes', 'mixed');
SELECT test.claim('x', 2, '{"noop": 5}');
SELECT a.answer, a.code, a.message FROM millrace.report(test.agent('x'), array_fill(test.run('mixed'), ARRAY[3]), '{1, 2, 2}', '{1, 1, 9}', '{completed,completed,completed}', '{"{\"total\": []}","\"y\"",5}') a;
SELECT a.answer, a.code FROM millrace.report(test.agent('x'), array_fill(test.run('mixed'), ARRAY[2]), '{1, 2}', '{1, 1}', '{completed,completed}') a;
SELECT a.answer FROM millrace.report(test.agent('x'), ARRAY[test.run('mixed')], '{1}', '{1}', '{failed}') a;
SELECT test.show('mixed');
SELECT code, message, detail FROM test.fails(format('SELECT millrace.resolve(%s, %L, %L)', test.run('mixed'), 'a', '[]'));
SELECT code, message FROM test.fails(format('SELECT millrace.resolve(%s, %L, %L)', test.run('mixed'), 'a', '{"total": 1}'));
SELECT millrace.cancel(test.run('mixed'));

-- none: not stored, whoever asks; a time to live: as long as the run goes on, and that long after the step's end.
SELECT test.define('kept', 'a {"output": "none"}', 'b {"output": {"ttl": "60s"}}', 'c {"output": "keep"}', 'd <- a b c {"handler": "http"}');
SELECT test.start('kept', 'kept');
SELECT test.claim('x', 3, '{"noop": 5}');
SELECT test.report('x', 'kept', 'a', output => '1'), test.report('x', 'kept', 'b', output => '2'), test.report('x', 'kept', 'c', output => '3');
SELECT test.at(100);
SELECT input -> 'needs' AS needs FROM millrace.claim(test.agent('x'));
SELECT test.report('x', 'kept', 'd');
SELECT key, output FROM millrace.steps WHERE run_id = test.run('kept') ORDER BY step_no;
SELECT test.at(200);
SELECT key, output FROM millrace.steps WHERE run_id = test.run('kept') ORDER BY step_no;
SELECT count(*) AS noted FROM millrace_internal.output_expiry;

-- The cache: by key, settings, handler and tenant; of any workflow, and no longer than it lives.
SELECT test.define('cached', 'a {"handler": "http", "with": {"page": {"$path": "$.run.page"}}, "cache": {"key": "$.run.key", "ttl": "10m"}}', 'b <- a {"handler": "http", "cache": {"key": ["b", "$.needs.a"], "ttl": "1h"}, "output": {"ttl": "1h"}}', 'c <- b');
SELECT test.start('cached', 'first', '{"key": 1, "page": 1, "other": 1}');
CALL pg_temp.work('{"a": "of a", "b": "of b"}');
SELECT test.start('cached', 'again', '{"key": 1, "page": 1, "other": 2}');
SELECT test.show('again');
CALL pg_temp.work();
SELECT test.show('again');
SELECT key, output, attempts FROM millrace.steps WHERE run_id = test.run('again') ORDER BY step_no;
SELECT event, step, attempt FROM test.log('again');
SELECT test.start('cached', 'page', '{"key": 1, "page": 2}'), test.start('cached', 'key', '{"key": 2, "page": 1}');
CALL pg_temp.work('{"a": "of a", "b": "of b"}');
SELECT test.start('cached', 'tenant', '{"key": 1, "page": 1}', tenant => 'other');
CALL pg_temp.work('{"a": "of a", "b": "of b"}');
SELECT test.define('borrower', 'x {"handler": "http", "with": {"page": 1}, "cache": {"key": 1, "ttl": 1}}');
SELECT test.start('borrower', 'borrower');
SELECT test.show('borrower');
SELECT test.at(200 + 600);
SELECT test.start('cached', 'expired', '{"key": 1, "page": 1}');
CALL pg_temp.work('{"a": "anew"}');
SELECT key, output FROM millrace.steps WHERE run_id = test.run('expired') ORDER BY step_no;
-- A paused run does not run ahead; what has failed before is looked up again at its retry.
SELECT test.define('chain', 'a', 'b <- a {"handler": "noop", "cache": {"key": "k", "ttl": "1h"}, "retry": {"limit": 2, "backoff": 0}}', 'c <- b');
SELECT test.start('chain', 'one'), test.start('chain', 'two');
SELECT test.claim('x', 1), test.claim('x', 1);
SELECT test.report('x', 'one', 'a');
SELECT test.report('x', 'two', 'a');
SELECT test.claim('x', 2);
SELECT test.report('x', 'one', 'b', output => '"shared"');
SELECT test.report('x', 'two', 'b', outcome => 'failed');
SELECT test.show('one'), test.show('two');
SELECT test.start('chain', 'three');
SELECT test.claim('x', 3);
SELECT millrace.pause(test.run('three'));
SELECT test.report('x', 'three', 'a');
SELECT test.show('three');
SELECT millrace.resume(test.run('three'));
SELECT test.show('three');
SELECT count(*) FROM millrace_internal.cache;
SELECT test.at(10000);
SELECT count(*) FROM millrace_internal.cache;
CALL pg_temp.work();

-- Mistakes.
CREATE FUNCTION pg_temp.problems(step text) RETURNS TABLE (path text, code text, message text) LANGUAGE sql AS $$
    SELECT path, code, message FROM millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'steps', jsonb_build_array('{"key": "a", "handler": "http"}' || step::jsonb)))
$$;
SELECT p.* FROM unnest(ARRAY['{"output": "nothing"}', '{"output": {"ttl": 0}}', '{"output": {"ttl": "1h", "x": 1}}', '{"output": 5}', '{"output_shape": {"typ": "x"}}', '{"cache": "x"}', '{"cache": {"key": 1}}',
    '{"cache": {"ttl": 1}}', '{"cache": {"key": "$.run[", "ttl": 1}}', '{"cache": {"key": 1, "ttl": "x", "more": 1}}', '{"cache": {"key": 1, "ttl": 1}, "output": "none"}', '{"cache": {"key": {"$template": "x"}, "ttl": 1}}',
    '{"cache": {"key": {"a": ["$.run"]}, "ttl": "1 day"}, "output": "keep", "output_shape": true}']) s, pg_temp.problems(s) p;
