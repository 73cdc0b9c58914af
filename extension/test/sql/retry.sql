-- An operator retries and resolves what has failed; what was skipped because of it gets its chance again.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
SELECT test.define('retry', 'a', 'b <- a', 'c <- a', 'd <- b c', 'e <- d', 'f <- c', 'clean <- e {"rule": "all_done"}');

-- Retry of all that failed: the skipped descendants are pending again, what has run under all_done is not run twice.
SELECT test.start('retry', 'all');
CALL test.work('x', '{b,f}');
SELECT test.show('all');
SELECT millrace.retry(test.run('all'));
SELECT test.show('all');
SELECT state, finished_at, steps_failed FROM millrace.runs WHERE run_id = test.run('all');
CALL test.work('x');
SELECT test.show('all');
SELECT * FROM test.log('all');

-- Retry of one: the other stays failed, and with it the run.
SELECT test.start('retry', 'one');
CALL test.work('x', '{b,f}');
SELECT millrace.retry(test.run('one'), 'b');
SELECT test.show('one');
CALL test.work('x');
SELECT test.show('one');
SELECT millrace.retry(test.run('one'), 'f');
CALL test.work('x');
SELECT test.show('one');

-- Two failures above the same join: retrying one leaves the join to wait for it alone, and fall with the other.
SELECT test.define('retry-join', 'a', 'b', 'c <- a b', 'd <- c');
SELECT test.start('retry-join', 'join');
CALL test.work('x', '{a,b}');
SELECT test.show('join');
SELECT millrace.retry(test.run('join'), 'a');
SELECT test.show('join');
CALL test.work('x');
SELECT test.show('join');
SELECT millrace.retry(test.run('join'), 'b');
CALL test.work('x');
SELECT test.show('join');

-- What was cleaned up already is not waited for, whichever path ends last; nor is what a second failure skips.
SELECT test.start('retry', 'last');
CALL test.work('x', '{b,f}');
SELECT millrace.retry(test.run('last'));
SELECT test.claim('x', 2);
SELECT test.report('x', 'last', 'f');
SELECT test.show('last');
SELECT test.report('x', 'last', 'b', 'fatal');
SELECT test.show('last');
SELECT millrace.retry(test.run('last'));
CALL test.work('x');
SELECT test.show('last');

-- While the run still runs.
SELECT test.define('retry-early', 'a', 'b <- a', 'c');
SELECT test.start('retry-early', 'early');
SELECT test.claim('x', 2);
SELECT test.report('x', 'early', 'a', 'fatal', error => 'first');
SELECT test.show('early');
SELECT millrace.retry(test.run('early'));
SELECT test.show('early');
SELECT test.report('x', 'early', 'c');
SELECT key, attempts, token, error FROM millrace.steps WHERE run_id = test.run('early') AND key = 'a';
CALL test.work('x');
SELECT test.show('early');

-- The whole allowance of tries again; and again after another failure.
SELECT test.define('retry-allowance', 'a {"retry": {"limit": 1, "backoff": 0}}');
SELECT test.start('retry-allowance', 'allowance');
SELECT test.claim('x');
SELECT test.report('x', 'allowance', 'a', 'failed');
SELECT test.claim('x');
SELECT test.report('x', 'allowance', 'a', 'failed');
SELECT test.show('allowance');
SELECT millrace.retry(test.run('allowance'), 'a');
SELECT test.claim('x');
SELECT test.report('x', 'allowance', 'a', 'failed');
SELECT test.claim('x');
SELECT test.report('x', 'allowance', 'a', output => '"at last"');
SELECT test.show('allowance');

-- A cancelled run goes on where it was: what had completed is not run again.
SELECT test.start('retry', 'cancelled');
SELECT test.claim('x');
SELECT test.report('x', 'cancelled', 'a', steps => 2);
SELECT millrace.cancel(test.run('cancelled'));
SELECT millrace.retry(test.run('cancelled'));
SELECT test.show('cancelled');
CALL test.work('x');
SELECT test.show('cancelled');
SELECT test.start('retry', 'untouched');
SELECT millrace.cancel(test.run('untouched'));
SELECT millrace.retry(test.run('untouched'));
CALL test.work('x');
SELECT test.show('untouched');

-- A run that a failure has cancelled.
SELECT (millrace.define_workflow('{"workflow": "retry-cancel", "on_failure": "cancel", "defaults": {"handler": "noop"},
    "steps": [{"key": "a"}, {"key": "b"}, {"key": "c", "needs": ["a", "b"]}, {"key": "d", "needs": ["c"]}]}')).steps;
SELECT test.start('retry-cancel', 'stopped');
SELECT test.claim('x', 2);
SELECT test.report('x', 'stopped', 'a', 'fatal');
SELECT test.show('stopped');
SELECT * FROM test.fails($$SELECT millrace.retry(test.run('stopped'), 'a')$$);
SELECT millrace.retry(test.run('stopped'));
SELECT test.show('stopped');
CALL test.work('x');
SELECT test.show('stopped');

-- A paused run.
SELECT test.start('retry-early', 'paused');
SELECT test.claim('x', 1);
SELECT test.report('x', 'paused', 'a', 'fatal');
SELECT millrace.pause(test.run('paused'));
SELECT millrace.retry(test.run('paused'));
SELECT test.show('paused');
SELECT test.claim('x', 5);
SELECT millrace.resume(test.run('paused'));
CALL test.work('x');
SELECT test.show('paused');

-- Resolving: the step counts as completed, with an output and a name.
SELECT test.start('retry', 'resolved');
CALL test.work('x', '{b,f}');
SELECT millrace.resolve(test.run('resolved'), 'b', '{"by": "hand"}', 'Ada', 'looked it up');
SELECT test.show('resolved');
SELECT key, state, output, error FROM millrace.steps WHERE run_id = test.run('resolved') AND key = 'b';
CALL test.work('x');
SELECT test.show('resolved');
SELECT millrace.resolve(test.run('resolved'), 'f');
SELECT test.show('resolved');
SELECT event, step, data FROM test.log('resolved') WHERE event IN ('step_resolved', 'step_reset', 'run_reopened', 'run_completed', 'run_failed');
-- One of two failures above a join.
SELECT test.start('retry-join', 'half');
CALL test.work('x', '{a,b}');
SELECT millrace.resolve(test.run('half'), 'a');
SELECT test.show('half');
SELECT millrace.resolve(test.run('half'), 'b');
SELECT test.show('half');
CALL test.work('x');
SELECT test.show('half');
-- In a run that still runs, and with a dependent that all_done has let run already.
SELECT test.define('retry-running', 'a', 'b <- a', 'c', 'd <- a {"rule": "all_done"}');
SELECT test.start('retry-running', 'running');
SELECT test.claim('x', 1);
SELECT test.report('x', 'running', 'a', 'fatal', steps => 1);
SELECT millrace.resolve(test.run('running'), 'a', '5');
SELECT test.show('running');
SELECT key, state FROM millrace.steps WHERE run_id = test.run('running') AND state = 'running';
CALL test.work('x');
SELECT test.show('running');
SELECT test.report('x', 'running', 'd');
SELECT test.show('running');

-- Refused.
SELECT * FROM test.fails($$SELECT millrace.retry(test.run('resolved'))$$);
SELECT * FROM test.fails($$SELECT millrace.retry(test.run('resolved'), 'a')$$);
SELECT * FROM test.fails($$SELECT millrace.retry(test.run('resolved'), 'clena')$$);
SELECT * FROM test.fails($$SELECT millrace.retry(-1)$$);
SELECT * FROM test.fails($$SELECT millrace.resolve(test.run('resolved'), 'a')$$);
SELECT * FROM test.fails($$SELECT millrace.resolve(test.run('resolved'), 'xyz')$$);
SELECT * FROM test.fails($$SELECT millrace.resolve(-1, 'a')$$);
SELECT test.start('retry-early', 'limits');
SELECT test.claim('x', 1);
SELECT test.report('x', 'limits', 'a', 'fatal');
SELECT * FROM test.fails($$SELECT millrace.resolve(test.run('limits'), 'a', to_jsonb(repeat('x', 1048576)))$$);
SELECT * FROM test.fails($$SELECT millrace.resolve(test.run('limits'), 'a', reason => repeat('x', 10001))$$);
SELECT test.show('limits');
