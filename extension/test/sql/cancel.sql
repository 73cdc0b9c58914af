-- Cancelling: all that has not ended, once, and the agents are told.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', '{noop,unserved}');
SELECT test.register('y');

SELECT test.define('cancel', 'a', 'b <- a', 'c', 'd {"delay": 60}', 'e <- b', 'f {"handler": "unserved"}', 'g');
SELECT test.start('cancel', 'r');
SELECT test.claim('x', 1);
SELECT test.report('x', 'r', 'a', output => '1');
SELECT test.claim('x', 1);
SELECT test.claim('y', 1);
SELECT test.show('r');
SELECT millrace.cancel(test.run('r'), 'not needed any more');
SELECT test.show('r');
SELECT * FROM test.log('r');
SELECT key, output FROM millrace.steps WHERE run_id = test.run('r') AND key = 'a';

-- Each agent is told of its own steps, once; nothing is theirs to report, nothing is left to claim.
SELECT jsonb_path_query_array(millrace.heartbeat(test.agent('x')), '$.revoked[*].reason') AS x;
SELECT jsonb_path_query_array(millrace.heartbeat(test.agent('y')), '$.revoked[*].reason') AS y;
SELECT millrace.heartbeat(test.agent('x')) -> 'revoked' AS x;
SELECT test.report('x', 'r', 'b');
SELECT test.report('x', 'r', 'c');
SELECT test.claim('x', 10);
SELECT name, held FROM millrace.agents WHERE name IN ('x', 'y') ORDER BY 1;
SELECT test.at(60);
SELECT test.show('r');

-- Cancelling what has ended, or never was.
SELECT * FROM test.fails($$SELECT millrace.cancel(test.run('r'))$$);
SELECT test.define('cancel-one', 'a');
SELECT test.start('cancel-one', 'one');
CALL test.work('x');
SELECT * FROM test.fails($$SELECT millrace.cancel(test.run('one'))$$);
SELECT * FROM test.fails($$SELECT millrace.cancel(-1)$$);
SELECT * FROM test.fails($$SELECT millrace.cancel(NULL)$$);
SELECT test.start('cancel-one', 'two');
SELECT * FROM test.fails($$SELECT millrace.cancel(test.run('two'), repeat('r', 10001))$$);
SELECT test.show('two');

-- Undone with the transaction.
BEGIN;
SELECT millrace.cancel(test.run('two'));
SELECT test.show('two');
ROLLBACK;
SELECT test.show('two');
SELECT test.claim('x');
SELECT test.report('x', 'two', 'a');

-- A paused run, a run that is not to start yet, and one that nothing has touched.
SELECT test.start('cancel', 'paused');
SELECT millrace.pause(test.run('paused'));
SELECT millrace.cancel(test.run('paused'));
SELECT test.show('paused');
SELECT test.start('cancel', 'later', not_before => '2031-01-01');
SELECT millrace.cancel(test.run('later'));
SELECT test.show('later');
SELECT test.claim('x', 10);
