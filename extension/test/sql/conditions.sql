-- Conditions (`when`): looked at once, when the step's rule holds; a step whose condition is not true is skipped.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');

-- Over the run's input, in a first step: decided at submit.
SELECT test.define('when-root', 'a {"when": "$.run.total > 100"}', 'b', 'c <- a', 'd <- c b {"rule": "none_failed"}');
SELECT test.start('when-root', 'large', '{"total": 200}'), test.start('when-root', 'small', '{"total": 20}'), test.start('when-root', 'none');
SELECT test.show('large'), test.show('small'), test.show('none');
SELECT event, step, data FROM test.log('small');
CALL test.work('x');
SELECT test.show('large'), test.show('small'), test.show('none');
SELECT event, step, data FROM test.log('small');

-- A run in which nothing is left to do ends as it is submitted.
SELECT test.define('when-empty', 'a {"when": "$.run.go == true"}', 'b <- a', 'c <- b');
SELECT test.start('when-empty', 'empty');
SELECT state, finished_at IS NOT NULL AS ended FROM millrace.runs WHERE run_id = test.run('empty');
SELECT event, step, data FROM test.log('empty');

-- Over outputs; several conditions are all required; null and what does not match are not true.
SELECT test.define('when-outputs', 'a', 'b <- a {"when": "$.needs.a.paid"}', 'c <- a {"when": ["$.needs.a.paid == true", "$.needs.a.total > 10", "$.run.on"]}',
    'd <- a {"when": "$.needs.a.nothing.at.all == 1"}', 'e <- b c d {"rule": "none_failed"}');
SELECT test.start('when-outputs', 'paid', '{"on": true}'), test.start('when-outputs', 'cheap', '{"on": true}'), test.start('when-outputs', 'off', '{"on": "yes"}');
SELECT test.claim('x', 3);
SELECT test.report('x', 'paid', 'a', output => '{"paid": true, "total": 11}', steps => 10);
SELECT test.report('x', 'cheap', 'a', output => '{"paid": true, "total": 10}');
SELECT test.report('x', 'off', 'a', output => '{"paid": "true", "total": 11}');
SELECT test.show('paid'), test.show('cheap'), test.show('off');
SELECT test.report('x', 'paid', 'b'), test.report('x', 'paid', 'c');
CALL test.work('x');
SELECT test.show('paid'), test.show('cheap'), test.show('off');

-- The rule comes first: what fell, or is skipped with a need, is not looked at, and tells nothing of a condition.
SELECT test.define('when-rule', 'a', 'b <- a {"when": "$.run.go"}', 'c <- a {"when": "$.run.go", "rule": "all_done"}', 'd <- a {"when": "$.run.stop", "rule": "all_failed"}',
    'e <- d {"when": "$.run.stop"}', 'f <- c d {"when": "$.run.stop", "rule": "all_failed"}');
SELECT test.start('when-rule', 'rule', '{"go": true}');
CALL test.work('x', '{a}');
SELECT test.show('rule');
SELECT event, step, data FROM test.log('rule');

-- An early rule looks at the condition with the need that decides it.
SELECT test.define('when-early', 'a', 'b', 'c <- a b {"rule": "any_completed", "when": "$.needs.a.go == true || $.needs.b.go == true"}', 'd <- c');
SELECT test.start('when-early', 'early'), test.start('when-early', 'late');
SELECT test.claim('x', 4);
SELECT test.report('x', 'early', 'a', output => '{"go": true}'), test.report('x', 'late', 'a', output => '{"go": false}');
SELECT test.report('x', 'early', 'b', output => '{"go": false}'), test.report('x', 'late', 'b', output => '{"go": true}');
SELECT test.show('early'), test.show('late');
CALL test.work('x');
SELECT test.show('early'), test.show('late');

-- A delay begins when the condition has held; a later start of the run comes first. A paused run parks what its conditions let through.
SELECT test.at(0);
SELECT test.define('when-delay', 'a {"when": "$.run.go", "delay": "10s"}', 'b <- a {"when": "$.run.go"}');
SELECT test.start('when-delay', 'delayed', '{"go": true}');
SELECT millrace.submit('when-delay', '{"go": true}', not_before => millrace_internal.clock() + '1 min', labels => '{"name": "later"}') > 0 AS submitted;
SELECT event, step, data ->> 'due_at' IS NOT NULL AS has_time FROM test.log('delayed');
SELECT key, s.state, test.seconds(ready_at) FROM millrace.steps s JOIN millrace.runs r USING (run_id) WHERE r.labels ->> 'name' = 'later' ORDER BY key;
SELECT test.at(10);
SELECT millrace.keep() IS NOT NULL AS kept;
SELECT test.claim('x', 1);
SELECT millrace.pause(test.run('delayed'));
SELECT test.report('x', 'delayed', 'a');
SELECT test.show('delayed');
SELECT test.claim('x');
SELECT millrace.resume(test.run('delayed'));
CALL test.work('x');
SELECT test.show('delayed');
SELECT millrace.set_clock(NULL);

-- A retried run looks at the conditions of what is decided anew.
SELECT test.define('when-retry', 'a', 'b <- a {"when": "$.needs.a.go"}', 'c <- b');
SELECT test.start('when-retry', 'again');
CALL test.work('x', '{a}');
SELECT test.show('again');
SELECT millrace.retry(test.run('again'));
SELECT test.claim('x');
SELECT test.report('x', 'again', 'a', output => '{"go": false}');
SELECT test.show('again');

-- Mistakes.
SELECT code, message, hint FROM test.fails($$SELECT test.define('when-bad', 'a {"when": "$.run.(", "rule": "all_done"}')$$);
SELECT path, code, message FROM millrace.validate_workflow('{"workflow": "w", "steps": [{"key": "a", "handler": "noop", "when": 1}, {"key": "b", "handler": "noop", "when": ["$.run.x", {}, "$x"]}]}');
