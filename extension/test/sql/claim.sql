-- What a claim hands out, in which order, and within which bounds.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', '{noop,http,shell}', '{default,other}');

-- The order: priority (a step's is added to its run's), older runs, higher rank, then the step's number.
SELECT test.define('claim-order', 'short', 'long', 'tail <- long', 'urgent {"priority": -1}', 'lazy {"priority": 1}');
SELECT test.start('claim-order', 'first'), test.start('claim-order', 'second'), test.start('claim-order', 'hurry', priority => -1);
SELECT test.claim('x', 4);
SELECT test.claim('x', 4);
SELECT test.claim('x', 100);
SELECT test.claim('x', 100);

-- Capacity by handler; queues and handlers that the agent does not serve are left to others.
SELECT test.define('claim-capacity', 'h1 {"handler": "http"}', 'h2 {"handler": "http"}', 'h3 {"handler": "http"}', 's1 {"handler": "shell"}', 's2 {"handler": "shell"}',
    'other {"queue": "other"}', 'foreign {"queue": "foreign"}', 'unknown {"handler": "unknown"}', 'plain');
SELECT test.start('claim-capacity', 'r');
SELECT test.claim('x', 100, '{"http": 2, "shell": 0}');
SELECT test.claim('x', 1, '{"http": 5, "shell": 5}');
SELECT test.claim('x', 100, '{}');
SELECT test.claim('x', 0);
SELECT test.claim('x', 100, '{"shell": 1.9}');
SELECT string_agg(key, ' ' ORDER BY key) FROM millrace.claim(test.agent('x'), 100);
SELECT test.register('others', '{unknown,noop}', '{default,foreign}');
SELECT string_agg(key, ' ' ORDER BY key) FROM millrace.claim(test.agent('others'), 100);

-- All that an agent is told about a step.
SELECT test.define('claim-row', 'a {"handler": "http", "with": {"url": "u"}, "timeout": "1m"}', 'b <- a {"handler": "http", "input": {"x": "$.needs.a.y", "r": "$.run.z"}}', 'c <- b {"handler": "http"}');
SELECT test.start('claim-row', 'row', '{"z": 5}');
SELECT run_id = test.run('row') AS run, step_no, token, attempt, workflow, key, handler, settings, input, timeout, element, trace FROM millrace.claim(test.agent('x'));
SELECT test.report('x', 'row', 'a', output => '{"y": [1]}');
SELECT settings, input, timeout FROM millrace.claim(test.agent('x'));
SELECT test.report('x', 'row', 'b', output => '7');
SELECT settings, input, timeout FROM millrace.claim(test.agent('x'));

-- No more bytes than asked for, but always one step; what is given back does not count as an attempt.
SELECT test.define('claim-bytes', 'a {"handler": "http"}', 'b {"handler": "http"}', 'c {"handler": "http"}');
SELECT test.start('claim-bytes', 'big', jsonb_build_object('x', repeat('x', 1000)));
SELECT test.claim('x', 10, bytes => 1);
SELECT test.claim('x', 10, bytes => 1500);
SELECT test.show('big');
SELECT test.claim('x', 10, bytes => 1500);
SELECT key, attempts FROM millrace.steps WHERE run_id = test.run('big') ORDER BY 1;

-- Tenants that wait at the same place get their shares.
SELECT test.define('claim-tenant', 'a', 'b', 'c', 'd', 'e', 'f');
SELECT millrace.set_tenant_weight('heavy', 2), millrace.set_tenant_weight('light', 1);
SELECT test.start('claim-tenant', 'light', tenant => 'light'), test.start('claim-tenant', 'heavy', tenant => 'heavy');
SELECT trace, count(*) FROM millrace.claim(test.agent('x'), 6) GROUP BY 1 ORDER BY 1;
SELECT * FROM test.fails($$SELECT millrace.set_tenant_weight('heavy', 0)$$);
SELECT * FROM test.fails($$SELECT millrace.set_tenant_weight('heavy', 'NaN')$$);

-- A claim that is rolled back has not been.
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null
SELECT test.start('claim-tenant', 'again');
BEGIN;
SELECT test.claim('x', 3);
ROLLBACK;
BEGIN;
SELECT test.claim('x', 1);
SAVEPOINT s;
SELECT test.claim('x', 2);
ROLLBACK TO s;
SELECT test.claim('x', 1);
COMMIT;
SELECT test.show('again');
SELECT test.claim('x', 10);

-- What the sink holds and the tables no longer show as ready is passed over, and counted.
CALL test.await_dispatcher();
SELECT test.define('claim-stale', 'a');
SELECT test.start('claim-stale', 'stale');
SELECT coalesce(stale, 0) AS stale_before FROM millrace.dispatcher \gset
UPDATE millrace_internal.step SET state = 3 WHERE run_id = test.run('stale');
SELECT test.claim('x', 10);
SELECT tier = 'plain' OR stale = :stale_before + 1 AS counted FROM millrace.dispatcher;
UPDATE millrace_internal.step SET state = 2 WHERE run_id = test.run('stale');
SELECT millrace.cancel(test.run('stale'));

-- Refused.
SELECT * FROM test.fails($$SELECT millrace.claim(-1)$$);
SELECT * FROM test.fails($$SELECT millrace.claim(NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'), -1)$$);
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'), NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'), 100001)$$);
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'), 1, '[]')$$);
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'), 1, '{"http": "many"}')$$);
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'), 1, '{"ftp": 1}')$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'))$$);
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), '{1}', '{1}', '{1}', '{completed}')$$);
SELECT * FROM test.fails($$SELECT millrace.heartbeat(test.agent('x'))$$);
SELECT * FROM test.fails($$SELECT millrace.cancel(test.run('again'))$$);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM test.fails($$SELECT millrace.claim(test.agent('x'))$$);
COMMIT;
