-- Views and questions: every column, for steps with and without a row.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql

-- The columns that docs/sql-reference.md promises.
SELECT table_name, string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns WHERE table_schema = 'millrace' GROUP BY 1 ORDER BY 1;

SELECT test.register('x', '{http,noop}');
SELECT test.define('questions', 'a {"expected": 2, "queue": "default"}', 'b <- a {"handler": "http", "retry": {"limit": 2, "backoff": 5, "jitter": 0}, "expected": 10}', 'c <- a {"priority": 3, "expected": 1}',
    'd <- b c {"handler": "unserved"}', 'e <- d {"rule": "all_done", "expected": 0.5}');
SELECT test.start('questions', 'q', priority => 1);
SELECT key, state, attempts, queue, handler, priority, test.seconds(ready_at) AS ready, started_at, finished_at, elapsed, agent_id, error, token, needs, level, rank, expected, output
FROM millrace.steps WHERE run_id = test.run('q') ORDER BY step_no;
SELECT key, state, needs_left, unmet_needs, tries_left, may_retry, next_attempt_at FROM millrace.step_readiness WHERE run_id = test.run('q') ORDER BY step_no;
SELECT key, state, seconds FROM millrace.critical_path(test.run('q'));
SELECT key FROM millrace.affected_by(test.run('q'), 'a');
SELECT key FROM millrace.affected_by(test.run('q'), 'c');
SELECT key FROM millrace.affected_by(test.run('q'), 'e');
SELECT steps_total, steps_pending, steps_waiting, steps_ready, steps_running, steps_completed, steps_failed, steps_skipped, steps_cancelled, fraction_done, remaining_seconds, test.seconds(estimated_end) AS estimated_end
FROM millrace.run_progress WHERE run_id = test.run('q');
SELECT key, reason, data FROM millrace.steps s, millrace.why_not_ready(s.run_id, s.key) WHERE run_id = test.run('q') AND key IN ('a', 'd') ORDER BY step_no;

SELECT test.claim('x');
SELECT queue, handler, depth, running, agents FROM millrace.queues ORDER BY 1, 2;
SELECT test.at(4);
SELECT test.report('x', 'q', 'a', output => '[1]');
SELECT test.claim('x', 5);
SELECT test.report('x', 'q', 'b', 'failed', error => 'not yet');
SELECT test.at(6);
SELECT millrace.heartbeat(test.agent('x')) -> 'revoked' AS revoked;
SELECT key, state, attempts, test.seconds(ready_at) AS ready, test.seconds(started_at) AS started, test.seconds(finished_at) AS finished, agent_id = test.agent('x') AS agent, error, token, output
FROM millrace.steps WHERE run_id = test.run('q') ORDER BY step_no;
SELECT key, state, needs_left, unmet_needs, tries_left, may_retry, test.seconds(next_attempt_at) AS next_attempt FROM millrace.step_readiness WHERE run_id = test.run('q') ORDER BY step_no;
SELECT key, state, seconds FROM millrace.critical_path(test.run('q'));
SELECT steps_pending, steps_waiting, steps_ready, steps_running, steps_completed, fraction_done, remaining_seconds, test.seconds(estimated_end) AS estimated_end FROM millrace.run_progress WHERE run_id = test.run('q');
SELECT key, regexp_replace(reason, 'agent \d+', 'agent #') AS reason, data - 'agent_id' AS data FROM millrace.steps s, millrace.why_not_ready(s.run_id, s.key) WHERE run_id = test.run('q') ORDER BY step_no;

SELECT test.at(9);
SELECT millrace.heartbeat(test.agent('x')) -> 'revoked' AS revoked;
SELECT test.report('x', 'q', 'c');
SELECT test.claim('x');
SELECT test.report('x', 'q', 'b', output => '"done"');
SELECT reason FROM millrace.why_not_ready(test.run('q'), 'd');
SELECT queue, handler, depth, running, agents FROM millrace.queues WHERE handler = 'unserved';
SELECT key FROM millrace.affected_by(test.run('q'), 'd');
SELECT test.register('z', '{unserved}');
SELECT reason FROM millrace.why_not_ready(test.run('q'), 'd');
SELECT test.claim('z');
SELECT test.report('z', 'q', 'd', 'fatal', error => 'no');
CALL test.work('x');
SELECT key, reason FROM millrace.steps s, millrace.why_not_ready(s.run_id, s.key) WHERE run_id = test.run('q') AND key IN ('d', 'e') ORDER BY step_no;
SELECT state, test.seconds(started_at) AS started, test.seconds(finished_at) AS finished, steps_total, steps_completed, steps_failed, steps_running, steps_skipped, steps_cancelled FROM millrace.runs WHERE run_id = test.run('q');
SELECT fraction_done, remaining_seconds, test.seconds(estimated_end) AS estimated_end FROM millrace.run_progress WHERE run_id = test.run('q');
SELECT key, state, seconds FROM millrace.critical_path(test.run('q'));

-- What was skipped says why; what was cancelled too.
SELECT test.define('questions-skip', 'a', 'b <- a', 'c <- b');
SELECT test.start('questions-skip', 'skip');
CALL test.work('x', '{a}');
SELECT key, reason, data FROM millrace.steps s, millrace.why_not_ready(s.run_id, s.key) WHERE run_id = test.run('skip') ORDER BY step_no;
SELECT key, state, needs_left, unmet_needs FROM millrace.step_readiness WHERE run_id = test.run('skip') ORDER BY step_no;
SELECT test.start('questions-skip', 'cancelled');
SELECT millrace.cancel(test.run('cancelled'));
SELECT key, reason FROM millrace.steps s, millrace.why_not_ready(s.run_id, s.key) WHERE run_id = test.run('cancelled') ORDER BY step_no;
SELECT key, state, seconds FROM millrace.critical_path(test.run('cancelled'));

-- What falls stops at all_done.
SELECT test.define('questions-fall', 'a', 'b <- a', 'c <- b {"rule": "all_done"}', 'd <- c', 'e <- b d', 'f');
SELECT test.start('questions-fall', 'fall');
SELECT key, state FROM millrace.affected_by(test.run('fall'), 'a');
SELECT key, array(SELECT x.key FROM millrace.affected_by(s.run_id, s.key) x) AS falls FROM millrace.steps s WHERE run_id = test.run('fall') ORDER BY step_no;

-- Metrics are figures with names and labels.
SELECT name, labels, value FROM millrace.metrics() WHERE name IN ('millrace_agents', 'millrace_runs_alive', 'millrace_queue_depth', 'millrace_steps_running') ORDER BY 1, 2;
SELECT count(*) FROM millrace.metrics() WHERE name !~ '^millrace_[a-z_]+$' OR value IS NULL OR jsonb_typeof(labels) <> 'object';
SELECT tier IN ('plain', 'dispatcher') AS tier, (tier = 'plain') = (state = 'absent') AS state FROM millrace.dispatcher;

-- Refused.
SELECT * FROM test.fails($$SELECT * FROM millrace.why_not_ready(-1, 'a')$$);
SELECT * FROM test.fails($$SELECT * FROM millrace.why_not_ready(test.run('fall'), 'A')$$);
SELECT * FROM test.fails($$SELECT * FROM millrace.critical_path(-1)$$);
SELECT * FROM test.fails($$SELECT * FROM millrace.affected_by(test.run('fall'), 'g')$$);
SELECT * FROM test.fails($$SELECT * FROM millrace.affected_by(NULL, 'a')$$);
