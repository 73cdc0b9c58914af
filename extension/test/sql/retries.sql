-- Tries: back-off, limits, timeouts, delays. Time passes only when the test says so.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');

-- Back-off grows by its factor up to its bound; after the last try the step has failed.
SELECT test.define('retries', 'a {"retry": {"limit": 4, "backoff": "1s", "factor": 3, "max": "5s", "jitter": 0}}', 'b <- a');
SELECT test.start('retries', 'backoff');
SELECT test.claim('x');
SELECT test.report('x', 'backoff', 'a', 'failed', error => 'no luck');
SELECT test.show('backoff'), test.claim('x');
SELECT key, state, attempts, token, ready_at, error FROM millrace.steps WHERE run_id = test.run('backoff') AND key = 'a';
SELECT state, tries_left, may_retry, test.seconds(next_attempt_at) AS next_attempt FROM millrace.step_readiness WHERE run_id = test.run('backoff') AND key = 'a';
SELECT test.at(0.999);
SELECT test.claim('x');
SELECT test.at(1);
SELECT test.claim('x');
SELECT test.report('x', 'backoff', 'a', 'timed_out', error => 'too slow');
SELECT test.at(4);
SELECT test.claim('x');
SELECT test.report('x', 'backoff', 'a', 'failed');
SELECT test.at(9);
SELECT test.claim('x');
SELECT test.report('x', 'backoff', 'a', 'failed', error => 'still none');
SELECT test.at(14);
SELECT test.claim('x');
SELECT test.report('x', 'backoff', 'a', 'failed', error => 'gone');
SELECT test.show('backoff');
SELECT * FROM test.log('backoff');

-- A try that succeeds clears the error; what hung on the step goes on.
SELECT test.define('retries-success', 'a {"retry": {"limit": 1, "backoff": 0}}', 'b <- a');
SELECT test.start('retries-success', 'success');
SELECT test.claim('x');
SELECT test.report('x', 'success', 'a', 'failed', error => 'once');
SELECT test.claim('x');
SELECT test.report('x', 'success', 'a', output => '1', steps => 1);
SELECT key, state, attempts, error, output FROM millrace.steps WHERE run_id = test.run('success') ORDER BY step_no;
SELECT test.report('x', 'success', 'b');

-- Fatal is never tried again; without retries one failure is enough.
SELECT test.start('retries', 'fatal');
SELECT test.claim('x');
SELECT test.report('x', 'fatal', 'a', 'fatal', error => 'never');
SELECT test.show('fatal');
SELECT test.define('retries-none', 'a', 'b <- a');
SELECT test.start('retries-none', 'none');
SELECT test.claim('x');
SELECT test.report('x', 'none', 'a', 'failed', error => 'one is enough');
SELECT test.show('none');

-- At once, where tests say so.
SET millrace.retry_immediately = on;
SELECT test.start('retries', 'at once');
SELECT test.claim('x');
SELECT test.report('x', 'at once', 'a', 'failed');
SELECT test.claim('x');
SELECT test.report('x', 'at once', 'a', 'failed');
SELECT test.claim('x');
RESET millrace.retry_immediately;
SELECT millrace.cancel(test.run('at once'));

-- The jitter stays within its bounds.
SELECT bool_and(wait BETWEEN 0.8 AND 1.2) AS bounded, count(DISTINCT wait) > 1 AS varied
FROM (SELECT millrace_internal.backoff(1, 1, 2, 10, 0.2) AS wait FROM generate_series(1, 100)) b;
SELECT millrace_internal.backoff(10000, 1, 100, 300, 0), millrace_internal.backoff(5, 0, 2, 300, 1), millrace_internal.backoff(3, 2, 1, 300, 0);

-- A release is no try.
SELECT test.start('retries-none', 'released');
SELECT test.claim('x');
SELECT test.report('x', 'released', 'a', 'released', error => 'shutting down');
SELECT test.claim('x');
SELECT key, attempts, token FROM millrace.steps WHERE run_id = test.run('released') AND key = 'a';
SELECT * FROM test.log('released');
SELECT millrace.cancel(test.run('released'));

-- Timeouts that the agent does not report: half a second after their time the keeper does.
SELECT millrace.deregister_agent(test.agent('x'));
SELECT test.define('retries-timeout', 'a {"timeout": 10, "retry": {"limit": 1, "backoff": "2s", "jitter": 0}}', 'b', 'c <- a');
SELECT test.at(100);
SELECT test.register('slow', lease => '5 s');
SELECT test.start('retries-timeout', 'timeout');
SELECT test.claim('slow', 2);
CREATE FUNCTION pg_temp.beat_at(seconds double precision) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told jsonb;
BEGIN
    PERFORM millrace.set_clock('2030-01-01 00:00:00Z'::timestamptz + make_interval(secs => seconds));
    told := millrace.heartbeat(test.agent('slow'));
    PERFORM test.at(seconds);
    RETURN told -> 'revoked' #- '{0,run_id}';
END $$;
SELECT pg_temp.beat_at(104);
SELECT pg_temp.beat_at(108);
SELECT pg_temp.beat_at(110.4);
SELECT test.show('timeout');
SELECT pg_temp.beat_at(110.5);
SELECT test.show('timeout');
SELECT pg_temp.beat_at(111);
SELECT test.report('slow', 'timeout', 'a');
SELECT pg_temp.beat_at(112.5);
SELECT test.claim('slow');
SELECT pg_temp.beat_at(116);
SELECT pg_temp.beat_at(120);
SELECT pg_temp.beat_at(122.9);
SELECT pg_temp.beat_at(123);
SELECT test.show('timeout');
SELECT test.report('slow', 'timeout', 'b');
SELECT test.show('timeout');
SELECT * FROM test.log('timeout');

-- Time in the agent's own queue does not count: the heartbeat names what has not started.
SELECT test.at(200);
SELECT pg_temp.beat_at(200);
SELECT test.start('retries-timeout', 'queued');
SELECT test.claim('slow', 1);
SELECT millrace.set_clock('2030-01-01 00:03:24Z');
SELECT millrace.heartbeat(test.agent('slow'), ARRAY[test.run('queued')], ARRAY[(SELECT step_no FROM millrace.steps WHERE run_id = test.run('queued') AND key = 'a')]) -> 'revoked' AS revoked;
SELECT pg_temp.beat_at(208);
SELECT pg_temp.beat_at(212);
SELECT pg_temp.beat_at(214.4);
SELECT test.show('queued');
SELECT pg_temp.beat_at(214.5);
SELECT test.show('queued');
SELECT millrace.cancel(test.run('queued'));

-- A delay begins when the needs are met; a run that is not to start yet waits for both.
SELECT test.define('retries-delay', 'a', 'b <- a {"delay": "10s"}', 'c <- b');
SELECT test.at(300);
SELECT pg_temp.beat_at(300);
SELECT test.start('retries-delay', 'delay');
SELECT test.claim('slow', 5);
SELECT test.report('slow', 'delay', 'a', steps => 5);
SELECT test.show('delay');
SELECT reason FROM millrace.why_not_ready(test.run('delay'), 'b');
SELECT pg_temp.beat_at(309.9);
SELECT test.claim('slow');
SELECT pg_temp.beat_at(310);
CALL test.work('slow');
SELECT test.show('delay');
SELECT * FROM test.log('delay');
SELECT test.define('retries-delay-first', 'a {"delay": 2}');
SELECT test.start('retries-delay-first', 'both', not_before => '2030-01-01 00:05:13Z');
SELECT pg_temp.beat_at(314.9);
SELECT test.show('both');
SELECT pg_temp.beat_at(315);
SELECT test.show('both');
SELECT millrace.cancel(test.run('both'));

-- A timer of a wait that is over wakes nothing.
SELECT test.start('retries', 'over');
SELECT test.claim('slow');
SELECT test.report('slow', 'over', 'a', 'failed');
SELECT millrace.cancel(test.run('over'));
SELECT millrace.retry(test.run('over'));
SELECT test.claim('slow');
SELECT pg_temp.beat_at(318);
SELECT test.show('over');
SELECT count(*) FROM millrace_internal.timer WHERE due_at <= millrace_internal.clock();
