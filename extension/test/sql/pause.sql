-- Pausing: nothing is handed out, what runs goes on; resuming brings it all back.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
SELECT test.define('pause', 'a', 'b <- a', 'c', 'd <- b c');
SELECT test.start('pause', 'r');
SELECT test.claim('x', 1);
SELECT millrace.pause(test.run('r'));
SELECT test.show('r');
SELECT test.claim('x', 10);
SELECT replace(reason, test.run('r')::text, '#') FROM millrace.why_not_ready(test.run('r'), 'c');

-- What a report makes ready is parked, what is given back too, what was waiting stays so until the run goes on.
SELECT test.report('x', 'r', 'a', steps => 10);
SELECT test.show('r');
SELECT millrace.resume(test.run('r'));
SELECT test.show('r');
SELECT test.claim('x', 1);
SELECT millrace.pause(test.run('r'));
SELECT key, state FROM millrace.steps WHERE run_id = test.run('r') AND state = 'running';
SELECT test.report('x', 'r', 'b', 'released');
SELECT test.claim('x', 10);
SELECT millrace.resume(test.run('r'));
CALL test.work('x');
SELECT test.show('r');
SELECT * FROM test.log('r');

-- A timer that falls due in a paused run wakes its step, and no one gets it; a deadline cancels.
SELECT test.define('pause-timer', 'a {"delay": 5}');
SELECT test.start('pause-timer', 'timer');
SELECT millrace.pause(test.run('timer'));
SELECT test.at(5);
SELECT test.show('timer');
SELECT test.claim('x', 10);
SELECT millrace.resume(test.run('timer'));
SELECT test.claim('x', 10);
SELECT test.report('x', 'timer', 'a');
SELECT test.start('pause', 'deadline', deadline => '2030-01-01 00:00:07Z');
SELECT millrace.pause(test.run('deadline'));
SELECT test.at(7);
SELECT test.show('deadline');

-- What ran may be the last: a paused run ends, well or badly.
SELECT test.define('pause-last', 'a');
SELECT test.start('pause-last', 'last');
SELECT test.claim('x');
SELECT millrace.pause(test.run('last'));
SELECT test.report('x', 'last', 'a');
SELECT test.show('last');
SELECT test.start('pause-last', 'bad');
SELECT test.claim('x');
SELECT millrace.pause(test.run('bad'));
SELECT test.report('x', 'bad', 'a', 'fatal');
SELECT test.show('bad');

-- A lost agent's steps are parked.
SELECT test.start('pause-last', 'lost');
SELECT millrace.heartbeat(test.agent('x')) -> 'revoked';
SELECT test.claim('x');
SELECT millrace.pause(test.run('lost'));
SELECT test.at(30);
SELECT millrace.heartbeat(test.agent('x')) -> 'lease_seconds' AS lease;
SELECT test.claim('x');
SELECT test.show('lost');
SELECT millrace.resume(test.run('lost'));
SELECT test.claim('x');
SELECT test.report('x', 'lost', 'a');

-- Refused.
SELECT * FROM test.fails($$SELECT millrace.pause(test.run('lost'))$$);
SELECT * FROM test.fails($$SELECT millrace.resume(test.run('lost'))$$);
SELECT test.start('pause-last', 'twice');
SELECT * FROM test.fails($$SELECT millrace.resume(test.run('twice'))$$);
SELECT millrace.pause(test.run('twice'));
SELECT * FROM test.fails($$SELECT millrace.pause(test.run('twice'))$$);
SELECT * FROM test.fails($$SELECT millrace.pause(-1)$$);
SELECT * FROM test.fails($$SELECT millrace.resume(NULL)$$);
