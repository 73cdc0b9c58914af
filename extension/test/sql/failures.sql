-- What becomes of failures: another step takes over, a deadline passes, somebody looks at what is left.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');

-- A step takes over where another one has failed, and only there. A join of both branches runs in any case; the run has not failed.
SELECT test.define('handled', 'a {"on_error": "mend", "retry": {"limit": 1, "backoff": 0}}', 'b <- a', 'mend', 'join <- b mend {"rule": "none_failed"}',
    'either <- b mend {"rule": "any_completed"}', 'strict <- b mend');
SELECT test.start('handled', 'failed');
SELECT key, needs FROM millrace.steps WHERE run_id = test.run('failed') AND key IN ('mend', 'join') ORDER BY step_no;
SELECT test.claim('x');
SELECT test.report('x', 'failed', 'a', 'failed');
SELECT test.show('failed');
SELECT test.claim('x');
SELECT test.report('x', 'failed', 'a', 'failed', error => 'no');
SELECT test.show('failed');
CALL test.work('x');
SELECT test.show('failed');
SELECT state, steps_failed FROM millrace.runs WHERE run_id = test.run('failed');
SELECT event, step, data FROM test.log('failed') WHERE event IN ('step_failed', 'step_skipped', 'run_completed');
SELECT count(*) FROM millrace.dead_letters WHERE run_id = test.run('failed');
SELECT test.start('handled', 'fine');
CALL test.work('x');
SELECT test.show('fine');

-- The failure of what takes over is one like any other.
SELECT test.start('handled', 'worse');
SELECT test.claim('x');
SELECT test.report('x', 'worse', 'a', 'fatal');
CALL test.work('x', '{mend}');
SELECT test.show('worse');
SELECT key, reason FROM millrace.dead_letters WHERE run_id = test.run('worse');
SELECT millrace.retry(test.run('worse'));
CALL test.work('x');
SELECT test.show('worse');
SELECT * FROM test.fails($$SELECT millrace.retry(test.run('worse'))$$);
SELECT millrace.retry(test.run('worse'), 'a');
CALL test.work('x');
SELECT test.show('worse');

-- on_failure: cancel does not cancel a run for a failure that is handled; it does for one that is not.
SELECT (millrace.define_workflow('{"workflow": "handled-cancel", "on_failure": "cancel", "defaults": {"handler": "noop"},
    "steps": [{"key": "a", "on_error": "c"}, {"key": "b"}, {"key": "c"}]}')).version;
SELECT test.start('handled-cancel', 'goes on');
SELECT test.claim('x', 2);
SELECT test.report('x', 'goes on', 'a', 'fatal');
SELECT test.show('goes on');
CALL test.work('x', '{c}');
SELECT test.show('goes on');

-- Several may name the same one; it may have needs and a rule of its own.
SELECT test.define('handled-several', 'a {"on_error": "mend"}', 'b {"on_error": "mend"}', 'c', 'mend <- c', 'd <- a {"rule": "all_done"}', 'late <- d {"rule": "d.failed"}',
    'e {"on_error": "ruled"}', 'ruled <- c d {"rule": "c.skipped || d.completed"}');
SELECT test.start('handled-several', 'several');
CALL test.work('x', '{b,e}');
SELECT test.show('several');
SELECT test.start('handled-several', 'none');
CALL test.work('x');
SELECT test.show('none');
SELECT test.start('handled-several', 'own need');
CALL test.work('x', '{a,c}');
SELECT test.show('own need');

-- A chain of mending; a failure above that nobody handles is none that somebody below could.
SELECT test.define('handled-chain', 'a', 'b <- a {"on_error": "c"}', 'c {"on_error": "d"}', 'd');
SELECT test.start('handled-chain', 'chain');
CALL test.work('x', '{b,c}');
SELECT test.show('chain');
SELECT test.start('handled-chain', 'above');
CALL test.work('x', '{a}');
SELECT test.show('above');

-- An operator resolves a failure that was handled; and one that was not.
SELECT test.start('handled', 'resolved');
CALL test.work('x', '{a}', NULL);
SELECT test.show('resolved');
SELECT millrace.resolve(test.run('resolved'), 'a');
CALL test.work('x');
SELECT test.show('resolved');

-- Mistakes.
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "defaults": {"handler": "noop"}, "deadline": 0, "steps": [
    {"key": "a", "on_error": "a"}, {"key": "b", "on_error": "nowhere"}, {"key": "c", "on_error": 1}, {"key": "d", "on_error": "e"}, {"key": "e", "needs": ["d"]},
    {"key": "f", "on_error": "g"}, {"key": "g", "rule": "none_failed"}, {"key": "h", "on_error": "z"}, {"key": "i", "deadline": "soon"}, {"key": "j", "deadline": 0}], "finally": [{"key": "z"}]}');
SELECT path, code, message FROM millrace.validate_workflow('{"workflow": "w", "defaults": {"handler": "noop"}, "steps": [
    {"key": "a", "needs": ["c"], "on_error": "b"}, {"key": "b"}, {"key": "c", "needs": ["b"]}]}');

-- A deadline counts from when the step is first ready, over tries and what lies between. Waiting, ready and running steps fail by it.
SELECT test.define('deadline', 'a {"deadline": "10s", "retry": {"limit": 9, "backoff": "6s", "factor": 1, "jitter": 0}}', 'b <- a');
SELECT test.at(100);
SELECT test.start('deadline', 'waiting');
SELECT test.start('deadline', 'running');
SELECT test.start('deadline', 'ready');
SELECT test.start('deadline', 'done');
SELECT test.claim('x', 4);
SELECT test.report('x', 'done', 'a');
SELECT test.report('x', 'waiting', 'a', 'failed'), test.report('x', 'running', 'a', 'failed'), test.report('x', 'ready', 'a', 'failed');
SELECT test.at(105);
SELECT test.claim('x', 9);
SELECT test.report('x', 'done', 'b');
SELECT test.at(106);
SELECT test.claim('x', 2);
SELECT test.report('x', 'waiting', 'a', 'failed');
SELECT test.at(109.9);
SELECT test.show('waiting'), test.show('running'), test.show('ready');
SELECT test.at(110);
SELECT test.show('waiting'), test.show('running'), test.show('ready');
SELECT * FROM test.log('ready');
SELECT event, step, attempt, at, data FROM test.log('running') WHERE at = 110;
SELECT key, error, error_class, started_at IS NOT NULL AS started, attempts FROM millrace.steps WHERE run_id = test.run('running') ORDER BY step_no;
SELECT jsonb_path_query_array(millrace.heartbeat(test.agent('x')), '$.revoked[*].reason') ? 'timed_out' AS told;
SELECT test.report('x', 'running', 'a');
SELECT test.claim('x', 9);

-- A delay comes before the deadline; a paused run does not stop it; an operator's retry begins it anew.
SELECT test.define('deadline-delay', 'a', 'b <- a {"deadline": 10, "delay": 5}', 'c <- a {"rule": "all_done", "deadline": 20}');
SELECT test.start('deadline-delay', 'delay');
SELECT test.claim('x');
SELECT test.report('x', 'delay', 'a', steps => 2);
SELECT test.at(115);
SELECT test.show('delay');
SELECT millrace.pause(test.run('delay'));
SELECT test.at(125);
SELECT test.show('delay');
SELECT millrace.resume(test.run('delay'));
SELECT millrace.retry(test.run('delay'), 'b');
SELECT key, state, started_at FROM millrace.steps WHERE run_id = test.run('delay') AND key = 'b';
SELECT test.at(130);
SELECT test.show('delay');
SELECT test.at(135);
SELECT test.show('delay');
SELECT test.start('deadline', 'again');
SELECT test.at(140);
SELECT test.claim('x');
SELECT test.report('x', 'again', 'a', 'fatal');
SELECT millrace.retry(test.run('again'));
SELECT test.at(145);
SELECT test.show('again');
SELECT test.at(150);
SELECT test.show('again');

-- A failure by deadline cancels the run where a failure does, and is handled where it is to be.
SELECT (millrace.define_workflow('{"workflow": "deadline-cancel", "on_failure": "cancel", "defaults": {"handler": "noop"},
    "steps": [{"key": "a"}, {"key": "b", "needs": ["a"], "deadline": 5}, {"key": "c"}]}')).version;
SELECT test.start('deadline-cancel', 'cancelled');
SELECT test.claim('x', 9);
SELECT test.report('x', 'cancelled', 'a');
SELECT test.at(155);
SELECT test.show('cancelled');
SELECT test.define('deadline-handled', 'a {"deadline": 5, "on_error": "b"}', 'b');
SELECT test.start('deadline-handled', 'handled');
SELECT test.at(160);
CALL test.work('x');
SELECT test.show('handled');

-- A workflow's deadline is that of runs which are given none.
SELECT (millrace.define_workflow('{"workflow": "deadline-run", "deadline": "1m", "steps": [{"key": "a", "handler": "noop"}]}')).version;
SELECT test.start('deadline-run', 'default');
SELECT test.start('deadline-run', 'own', deadline => '2030-01-01 00:03:00Z');
SELECT trace, test.seconds(deadline) FROM millrace.runs WHERE run_id IN (test.run('default'), test.run('own')) ORDER BY run_id;
SELECT test.at(220);
SELECT test.show('default'), test.show('own');

-- Dead letters: failures with which nobody has dealt yet.
SELECT test.define('letters', 'a', 'b <- a', 'c');
SELECT test.at(300);
SELECT test.start('letters', 'one');
SELECT test.start('letters', 'two');
CALL test.work('x', '{a,c}');
SELECT r.trace, l.workflow, l.version, l.tenant, l.labels, l.run_state, l.key, l.queue, l.handler, l.reason, l.error_class, l.attempts, test.seconds(l.failed_at) AS failed_at
FROM millrace.dead_letters l JOIN millrace.runs r USING (run_id) WHERE l.workflow = 'letters' ORDER BY l.run_id, l.step_no;
SELECT value = (SELECT count(*) FROM millrace.dead_letters) AS counted FROM millrace.metrics() WHERE name = 'millrace_dead_letters';
SELECT millrace.retry(test.run('one'), 'a');
SELECT millrace.resolve(test.run('one'), 'c');
SELECT millrace.resolve(test.run('two'), 'c');
SELECT r.trace, l.key FROM millrace.dead_letters l JOIN millrace.runs r USING (run_id) WHERE l.workflow = 'letters';
CALL test.work('x');

-- Staleness: nothing is stale until somebody says from when on.
SELECT test.define('stale', 'a {"queue": "slow"}', 'b', 'c {"delay": 100}', 'd <- b');
SELECT test.at(400);
SELECT test.start('stale', 'stale');
SELECT test.claim('x');
SELECT test.at(430);
SELECT count(*) FROM millrace.stale_steps WHERE workflow = 'stale';
SELECT millrace.set_staleness('ready', NULL, '1 min'), millrace.set_staleness('running', 'default', '30 s'), millrace.set_staleness('waiting', 'default', '20 s'), millrace.set_staleness('ready', 'slow', '25 s');
SELECT * FROM millrace.staleness ORDER BY state, queue;
SELECT workflow, key, state, queue, test.seconds(since) AS since, age, threshold, agent_id IS NOT NULL AS held FROM millrace.stale_steps WHERE workflow = 'stale' ORDER BY step_no;
SELECT test.at(431);
SELECT key, state FROM millrace.stale_steps WHERE workflow = 'stale' ORDER BY step_no;
SELECT labels, value FROM millrace.metrics() WHERE name = 'millrace_steps_stale' ORDER BY labels;
SELECT millrace.set_staleness('ready', 'slow'), millrace.set_staleness('running', 'default', '1 h');
SELECT key, state, threshold FROM millrace.stale_steps WHERE workflow = 'stale' ORDER BY step_no;
SELECT test.at(461);
SELECT key, state, threshold FROM millrace.stale_steps WHERE workflow = 'stale' ORDER BY step_no;
SELECT millrace.pause(test.run('stale'));
SELECT count(*) FROM millrace.stale_steps WHERE workflow = 'stale';
SELECT * FROM test.fails($$SELECT millrace.set_staleness('completed', NULL, '1 s')$$);
SELECT * FROM test.fails($$SELECT millrace.set_staleness('ready', '', '1 s')$$);
SELECT * FROM test.fails($$SELECT millrace.set_staleness('ready', NULL, '0 s')$$);
DELETE FROM millrace_internal.staleness;

-- What the engine holds has deadlines too.
SELECT test.at(500);
SELECT (millrace.define_workflow('{"workflow": "deadline-wait", "steps": [{"key": "a", "wait_for": {"signal": "go"}, "deadline": 5}]}')).version;
SELECT test.start('deadline-wait', 'held');
SELECT test.show('held');
SELECT test.at(505);
SELECT test.show('held'), (SELECT count(*) FROM millrace_internal.wait w WHERE w.run_id = test.run('held')) AS waits;
