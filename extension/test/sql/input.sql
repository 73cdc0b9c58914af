-- What a step receives: its input, computed in the database from the run's input and the outputs of its needs.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', '{http,noop,sleep}');
SELECT test.define('input', 'a {"handler": "http"}', 'b {"handler": "http"}', 'skipped', $d$c <- a b {"handler": "http", "input": {
    "scalar": "$.run.n", "object": "$.run.o", "missing": "$.run.nothing", "deep": "$.needs.a.list[1].x", "last": "$.needs.a.list[last].x",
    "array": ["$.run.n", 2, "three", null, true], "all": "$.needs.a.list[*].x", "none": "$.run.nothing[*]", "filter": "$.needs.a.list[*] ? (@.x > 1).x",
    "wild": "$.run.o.*", "text": "5 $", "dollar": "$$.run.n", "dollars": "$$$", "whole": "$.needs.b", "nested": {"deeper": {"deepest": "$.run.n"}},
    "method": "$.run.list.size()", "sum": "$.run.n + 1", "wrong": "$.run.o + 1", "quoted": "$.run.\"strange key\""}}$d$);
SELECT test.start('input', 'r', '{"n": 5, "o": {"p": 1, "q": "two"}, "list": [1, 2, 3], "strange key": "yes"}');
SELECT key, input FROM millrace.claim(test.agent('x'), 2, '{"http": 5}');
SELECT test.report('x', 'r', 'a', output => '{"list": [{"x": 1}, {"x": 2}, {"x": 3}]}');
SELECT test.report('x', 'r', 'b');
SELECT jsonb_pretty(input) FROM millrace.claim(test.agent('x'), 1, '{"http": 5}');

-- The default: all of it. Only declared needs, not those above; none for handlers that take none, unless the definition says so.
SELECT test.define('input-default', 'a {"handler": "http"}', 'b <- a {"handler": "http"}', 'c <- b {"handler": "http"}', 'd <- c', 'e <- d {"input": {"from": "$.needs.d", "n": "$.run"}}', 'f <- e {"handler": "sleep"}');
SELECT test.start('input-default', 'default', '[1]');
CREATE PROCEDURE pg_temp.pass(output text, INOUT input jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    step record;
BEGIN
    SELECT * INTO step FROM millrace.claim(test.agent('x'));
    COMMIT;
    PERFORM FROM millrace.report(test.agent('x'), ARRAY[step.run_id], ARRAY[step.step_no], ARRAY[step.token], '{completed}', ARRAY[output]);
    input := step.input;
END $$;
CALL pg_temp.pass('1');
CALL pg_temp.pass(NULL);
CALL pg_temp.pass('{"c": true}');
CALL pg_temp.pass('"d"');
CALL pg_temp.pass(NULL);
CALL pg_temp.pass(NULL);
SELECT test.show('default');
-- A run without an input.
SELECT test.start('input-default', 'nothing');
CALL pg_temp.pass('null');
CALL pg_temp.pass(NULL);
SELECT millrace.cancel(test.run('nothing'));

-- Required: what matches nothing fails the step, with the path; the claim of others goes on. A null is a match.
SELECT test.define('input-required', 'all {"handler": "http", "input": {"x": "$.run.x", "y": ["$.run.y"]}, "required": true}',
    'some {"handler": "http", "input": {"x": "$.run.x", "z": "$.run.z"}, "required": ["x"]}', 'none {"handler": "http", "input": {"z": "$.run.z"}}', 'after <- all', 'cleanup <- after {"rule": "all_done"}');
SELECT test.start('input-required', 'met', '{"x": null, "y": 1}');
SELECT key, input FROM millrace.claim(test.agent('x'), 10);
SELECT test.start('input-required', 'unmet', '{"x": 1}');
SELECT key, input FROM millrace.claim(test.agent('x'), 10);
SELECT key, state, attempts, error FROM millrace.steps WHERE run_id = test.run('unmet') ORDER BY step_no;
SELECT event, step, data FROM test.log('unmet');
SELECT test.claim('x', 10);

-- A path that goes wrong only with the data that it meets fails its step alone, in a hand-over too.
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null
SELECT test.define('input-late', 'first', 'bad <- first {"handler": "http", "input": "$.run.x ? (@ == $nowhere)"}', 'good <- first {"handler": "http", "input": "$.run.x"}', 'end <- bad');
SELECT test.start('input-late', 'late', '{"x": 1}');
SELECT test.claim('x');
SELECT test.report('x', 'late', 'first', steps => 5);
SELECT test.show('late');
SELECT key, error FROM millrace.steps WHERE run_id = test.run('late') AND error IS NOT NULL;
SELECT answer, code FROM millrace.report(test.agent('x'), ARRAY[test.run('late')], (SELECT array_agg(step_no) FROM millrace.steps WHERE run_id = test.run('late') AND key = 'good'), '{1}', '{completed}');
SELECT test.show('late');

-- An input that grows too large.
SELECT test.define('input-large', 'a {"handler": "http", "input": ["$.run", "$.run"]}');
SELECT test.start('input-large', 'large', to_jsonb(repeat('x', 600000)));
SELECT test.claim('x');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('large');
