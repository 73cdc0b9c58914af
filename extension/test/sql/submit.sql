-- Starting runs: in the caller's transaction, once per idempotency key, with all that may be said about a run.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.define('submit', 'a', 'b <- a', 'c');
SELECT test.register('x');

-- A rollback leaves nothing: no run, no step, no event, nothing to claim, no key.
BEGIN;
SELECT test.start('submit', 'undone');
SELECT millrace.submit('submit', trace => 'undone', idempotency_key => 'undone') > 0 AS submitted;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT test.start('submit', 'undone');
ROLLBACK TO s;
COMMIT;
SELECT test.run('undone'), test.claim('x', 10);
SELECT count(*) FROM millrace_internal.idempotency_key WHERE key = 'undone';
SELECT count(*) FROM millrace_internal.step s WHERE NOT EXISTS (SELECT FROM millrace_internal.run r WHERE r.run_id = s.run_id);

-- Nothing is claimable before the commit.
BEGIN;
SELECT test.start('submit', 'done');
COMMIT;
SELECT test.claim('x', 10);
SELECT test.show('done');
SELECT * FROM test.log('done');

-- Everything that may be said about a run is shown by the view.
SELECT millrace.submit('submit', '{"n": 1}', priority => -3, tenant => 'acme', labels => '{"env": "test"}', not_before => '2030-01-01 00:01Z', deadline => '2030-01-01 01:00Z',
    parent_run_id => 5, parent_step_no => 2, trace => 'full') > 0 AS submitted;
SELECT workflow, version, tenant, labels, state, input, test.seconds(created_at) AS created, started_at, finished_at, steps_total, priority,
    test.seconds(not_before) AS not_before, test.seconds(deadline) AS deadline, parent_run_id, parent_step_no, trace
FROM millrace.runs WHERE run_id = test.run('full');

-- An idempotency key: the first run's id, whatever else the second call says; keys of another tenant are others.
SELECT millrace.submit('submit', '1', idempotency_key => 'k', trace => 'once') = millrace.submit('submit', '2', idempotency_key => 'k', trace => 'once') AS same_run;
SELECT count(*), min(input::text) AS input FROM millrace.runs WHERE trace = 'once';
SELECT millrace.submit('submit', idempotency_key => 'k', tenant => 'other', trace => 'once') = test.run('once') AS same_run;
SELECT millrace.submit('submit', idempotency_key => NULL, trace => 'once') = millrace.submit('submit', trace => 'once') AS same_run;

-- Many at once: ids in the order of the inputs; keys that are known, or named twice, answer the same run.
SELECT count(*), count(DISTINCT id), bool_and(id > 0) FROM millrace.submit_many('submit', ARRAY['1', '2', '3']::jsonb[]) id;
SELECT array_agg(dense_rank ORDER BY ord) FROM (
    SELECT ord, dense_rank() OVER (ORDER BY id) FROM millrace.submit_many('submit', ARRAY['1', '2', '3', '4', '5']::jsonb[],
        idempotency_keys => ARRAY['k', 'l', NULL, 'l', 'm'], trace => 'many') WITH ORDINALITY m (id, ord)) r;
SELECT input, labels, trace FROM millrace.runs WHERE trace = 'many' ORDER BY run_id;
SELECT count(*) FROM millrace.submit_many('submit', '{}'::jsonb[]);
SELECT count(*) FROM millrace.submit_many('submit', NULL);
SELECT count(*) FROM millrace.submit_many('submit', ARRAY[NULL, NULL]::jsonb[], idempotency_keys => ARRAY['n', 'n']);

-- Not before its time; a time that is over counts as none.
SELECT millrace.deregister_agent(test.agent('x'));
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null
SELECT test.register('y');
SELECT test.start('submit', 'later', not_before => '2030-01-01 00:00:05Z');
SELECT test.start('submit', 'sooner', not_before => '2029-01-01');
SELECT test.show('later');
SELECT test.claim('y', 10);
SELECT test.at(4.999);
SELECT test.claim('y', 10);
SELECT test.at(5);
SELECT test.claim('y', 10);
SELECT * FROM test.log('later');

-- A deadline cancels what is left, and tells the agents.
SELECT test.start('submit', 'late', deadline => '2030-01-01 00:00:08Z');
SELECT test.claim('y');
SELECT test.report('y', 'late', 'a');
SELECT test.start('submit', 'in time', deadline => '2030-01-01 00:00:08Z');
SELECT test.claim('y', 10);
SELECT test.report('y', 'in time', 'a'), test.report('y', 'in time', 'c');
SELECT test.claim('y', 10);
SELECT test.report('y', 'in time', 'b');
SELECT test.at(8);
SELECT test.show('late');
SELECT test.show('in time');
SELECT * FROM test.log('late');

-- Bad arguments change nothing.
SELECT * FROM test.fails($$SELECT millrace.submit('submti')$$);
SELECT * FROM test.fails($$SELECT millrace.submit(NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', version => 7)$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', priority => 40000)$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', priority => NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', labels => '[]')$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', labels => jsonb_build_object('x', repeat('x', 10000)))$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', tenant => repeat('x', 201))$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', idempotency_key => repeat('x', 501))$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', trace => repeat('x', 2001))$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', to_jsonb(repeat('x', 1048576)))$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', '{"x": "\u0000"}')$$);
SELECT * FROM test.fails($$SELECT millrace.submit('submit', '{')$$);
SELECT * FROM test.fails($$SELECT millrace.submit_many('submit', ARRAY['1', '2']::jsonb[], idempotency_keys => '{a}')$$);
SELECT * FROM test.fails($$SELECT millrace.submit_many('submit', array_fill('1'::jsonb, '{100001}'))$$);
