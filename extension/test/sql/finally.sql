-- Steps of `finally` run when all others have ended, whatever became of them; then the run ends.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
CREATE FUNCTION pg_temp.define(workflow text, definition text) RETURNS integer LANGUAGE sql AS $$
    SELECT (millrace.define_workflow(definition::jsonb || jsonb_build_object('workflow', workflow))).version
$$;

SELECT pg_temp.define('finally-plain', '{"defaults": {"handler": "noop"}, "steps": [{"key": "a"}, {"key": "b", "needs": ["a"]}, {"key": "c"}],
    "finally": [{"key": "close", "needs": ["a"]}, {"key": "tell", "needs": ["close"], "when": "$.ended.state != \"completed\""}, {"key": "log", "handler": "keep"}]}');
SELECT workflow, steps FROM millrace.workflows WHERE workflow = 'finally-plain';
SELECT key, closing, needs_declared, ancestors FROM millrace.dependency_paths WHERE workflow = 'finally-plain' ORDER BY key;
SELECT test.register('keeper', '{keep}');

-- After success.
SELECT test.start('finally-plain', 'good');
CALL test.work('x');
SELECT test.show('good');
SELECT input FROM millrace.claim(test.agent('keeper'));
SELECT test.report('keeper', 'good', 'log');
SELECT test.show('good');
SELECT event, step, data FROM test.log('good');

-- After a failure: what fell, and what failed, is over before they begin; the run has failed.
SELECT test.start('finally-plain', 'bad');
CALL test.work('x', '{a}');
SELECT test.show('bad');
SELECT input FROM millrace.claim(test.agent('keeper'));
SELECT test.report('keeper', 'bad', 'log');
SELECT test.show('bad');
SELECT event, step, data FROM test.log('bad');

-- After a cancel, and on_failure: cancel; a step of finally that fails makes a failed run of a good one, and no other of a cancelled one.
SELECT test.start('finally-plain', 'stopped');
SELECT test.claim('x');
SELECT millrace.cancel(test.run('stopped'), 'no more');
SELECT test.show('stopped');
SELECT event, step, data FROM test.log('stopped');
CALL test.work('x', '{tell}');
SELECT test.claim('keeper');
SELECT test.report('keeper', 'stopped', 'log');
SELECT test.show('stopped');
SELECT test.start('finally-plain', 'unlucky');
CALL test.work('x', '{close}');
SELECT test.claim('keeper');
SELECT test.report('keeper', 'unlucky', 'log');
SELECT test.show('unlucky');
SELECT pg_temp.define('finally-cancel', '{"on_failure": "cancel", "defaults": {"handler": "noop"}, "steps": [{"key": "a"}, {"key": "b"}, {"key": "c", "needs": ["b"]}],
    "finally": [{"key": "x"}, {"key": "y"}]}');
SELECT test.start('finally-cancel', 'early');
CALL test.work('x', '{a,x}');
SELECT test.show('early');

-- A second cancel ends what runs at the end, too. A deadline counts like a cancel.
SELECT test.start('finally-plain', 'twice');
SELECT millrace.cancel(test.run('twice'));
SELECT test.show('twice');
SELECT millrace.cancel(test.run('twice'));
SELECT test.show('twice');
SELECT test.at(0);
SELECT test.start('finally-plain', 'late', deadline => millrace_internal.clock() + '1 min');
SELECT test.at(61);
SELECT test.show('late');
SELECT millrace.cancel(test.run('late'));

-- Retry and resolve take a run that had ended back to its main steps; the steps of finally run once more. Not while they are under way.
SELECT test.start('finally-plain', 'again');
CALL test.work('x', '{a}');
SELECT code, message, detail, hint FROM test.fails(format('SELECT millrace.retry(%s)', test.run('again')));
SELECT test.claim('keeper');
SELECT test.report('keeper', 'again', 'log');
SELECT test.show('again');
SELECT millrace.retry(test.run('again'));
SELECT test.show('again');
CALL test.work('x');
SELECT test.claim('keeper');
SELECT test.report('keeper', 'again', 'log');
SELECT test.show('again');
SELECT test.start('finally-plain', 'resolved');
CALL test.work('x', '{a}');
SELECT test.claim('keeper');
SELECT test.report('keeper', 'resolved', 'log');
SELECT millrace.resolve(test.run('resolved'), 'a', '{"by": "hand"}');
CALL test.work('x');
SELECT test.claim('keeper');
SELECT test.report('keeper', 'resolved', 'log');
SELECT test.show('resolved');
-- A step of finally by itself: the run stays where it is.
SELECT millrace.retry(test.run('unlucky'), 'close');
SELECT test.show('unlucky');
CALL test.work('x');
SELECT test.show('unlucky');

-- Mistakes.
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "steps": [{"key": "a", "handler": "noop", "needs": ["z"]}], "finally": [{"key": "z", "handler": "noop"}]}');
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "steps": [{"key": "a", "handler": "noop"}], "finally": [{"key": "a", "handler": "noop"}, {"key": "b"}, {"key": "c", "handler": "sql", "needs": ["d"]}]}');
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "steps": [{"key": "a", "handler": "noop"}], "finally": {}}');
