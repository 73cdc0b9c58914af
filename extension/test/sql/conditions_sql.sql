-- Conditions in SQL: asked with the definer's rights, read-only, for so long at most, after the paths; cheapest first.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
CREATE TABLE test.stock (item text, count integer);
INSERT INTO test.stock VALUES ('lamp', 3), ('chair', 0);
-- What was asked, told outside of the transaction that asks: a sequence cannot be drawn from read-only, an advisory lock can be taken.
CREATE FUNCTION test.asked(number integer, answer boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock(4711, number);
    RETURN answer;
END $$;
CREATE FUNCTION pg_temp.asked() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    numbers text := (SELECT string_agg(l.objid::text, ' ' ORDER BY l.objid) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 4711 AND l.pid = pg_backend_pid());
BEGIN
    PERFORM pg_advisory_unlock_all();
    RETURN coalesce(numbers, 'none');
END $$;

-- True, false, null; in a first step and behind another one.
SELECT test.define('stock', 'a {"when": {"sql": "select count > 0 from test.stock where item = $1->''run''->>''item''"}}', 'b <- a', 'c <- a {"rule": "none_failed"}');
SELECT test.start('stock', 'lamp', '{"item": "lamp"}'), test.start('stock', 'chair', '{"item": "chair"}'), test.start('stock', 'horse', '{"item": "horse"}');
SELECT test.show('lamp'), test.show('chair'), test.show('horse');
SELECT event, step, data FROM test.log('chair');
CALL test.work('x');
-- Beside a step at which the engine looks for another reason.
SELECT test.define('beside', 'a {"cache": {"key": 1, "ttl": 60}}', 'b {"when": {"sql": "select false"}}');
SELECT test.start('beside');
SELECT test.show('beside');
CALL test.work('x');
SELECT test.define('behind', 'a', 'b <- a {"when": {"sql": "select ($1->''needs''->''a''->>''n'')::integer > 5"}}', 'c <- b', 'd <- c {"rule": "all_done"}');
SELECT test.start('behind', 'many'), test.start('behind', 'few');
SELECT test.claim('x', 2);
SELECT test.report('x', 'many', 'a', output => '{"n": 6}'), test.report('x', 'few', 'a', output => '{"n": 5}');
CALL test.work('x');
SELECT test.show('many'), test.show('few');

-- Paths first: where one of them is not true, no statement is asked; then statements until one is false.
SELECT test.define('cheapest', 'a {"when": [{"sql": "select test.asked(1, true)"}, "$.run.go == true", {"sql": "select test.asked(2, ($1->''run''->>''second'')::boolean)"}, {"sql": "select test.asked(3, true)"}]}');
SELECT test.start('cheapest', 'path', '{"go": false, "second": true}'), pg_temp.asked();
SELECT test.show('path');
SELECT test.start('cheapest', 'all', '{"go": true, "second": true}');
SELECT pg_temp.asked();
SELECT test.show('all');

-- What costs much and is never false is asked last; what is cheap and mostly false first.
SELECT test.define('learns', 'a {"when": [{"sql": "select pg_sleep(0.5) is not null and test.asked(1, true)"}, {"sql": "select test.asked(2, false)"}]}');
SELECT test.start('learns', 'first'), pg_temp.asked();
SELECT test.start('learns', 'second'), test.start('learns', 'third');
SELECT pg_temp.asked();

-- An answer is remembered for as long as the definition says, by its argument.
SELECT test.define('sql-cached', 'a {"when": {"sql": "select test.asked(1, count > 0) from test.stock where item = $1->''run''->>''item''", "cache": "10s"}}');
SELECT test.start('sql-cached', 'one', '{"item": "lamp"}'), test.start('sql-cached', 'two', '{"item": "lamp"}');
SELECT pg_temp.asked();
UPDATE test.stock SET count = 0 WHERE item = 'lamp';
SELECT test.start('sql-cached', 'three', '{"item": "lamp"}'), test.start('sql-cached', 'other', '{"item": "chair"}');
SELECT pg_temp.asked();
SELECT test.show('three'), test.show('other');
SELECT test.at(10);
SELECT test.start('sql-cached', 'four', '{"item": "lamp"}');
SELECT test.show('four');
CALL test.work('x');

-- A condition that fails, answers something else, takes too long or writes, fails its step, and not the report.
SELECT test.define('sql-broken', 'a', 'b <- a {"when": {"sql": "select 1 / (($1->''needs''->''a''->>''n'')::integer) > 0"}}', 'c <- b', 'd <- a {"when": {"sql": "select 5"}}',
    'e <- a {"when": {"sql": "select pg_sleep(60) is not null", "timeout": "50ms"}}', 'f <- a {"when": {"sql": "insert into test.stock values (''bed'', 1) returning true"}}',
    'g <- a {"when": {"sql": "select nextval(''millrace_internal.batch_id_seq'') > 0"}}', 'h <- a', 'i <- a {"when": {"sql": "select true where false"}}');
SELECT test.start('sql-broken', 'broken');
SELECT test.claim('x');
SELECT test.report('x', 'broken', 'a', output => '{"n": 0}');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('broken') ORDER BY key;
CALL test.work('x');
SELECT state FROM millrace.runs WHERE run_id = test.run('broken');
SELECT count(*) FROM test.stock;
-- An operator mends it and retries: it is asked again.
SELECT test.define('sql-mended', 'a {"when": {"sql": "select 1 / (select sum(count) from test.stock) >= 0"}}');
SELECT test.start('sql-mended', 'mended');
SELECT test.show('mended');
UPDATE test.stock SET count = 1;
SELECT millrace.retry(test.run('mended'));
CALL test.work('x');
SELECT test.show('mended');
-- A step that has been tried is not asked about again.
SELECT test.define('sql-tried', 'a {"when": {"sql": "select sum(count) > 0 from test.stock"}, "retry": {"limit": 1, "backoff": "1s", "jitter": 0}}');
SELECT test.start('sql-tried', 'tried');
SELECT test.claim('x');
UPDATE test.stock SET count = 0;
SELECT test.report('x', 'tried', 'a', 'failed', error => 'busy');
SELECT test.at(20);
SELECT test.claim('x');
SELECT test.report('x', 'tried', 'a');
-- Settings that a statement changes, and being read-only, end with it.
SELECT test.define('sql-settings', 'a {"when": [{"sql": "select set_config(''search_path'', ''nowhere'', false) is not null"}, {"sql": "select set_config(''transaction_read_only'', ''off'', false) = ''off''"}]}');
SELECT test.start('sql-settings', 'settings');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('settings');
SELECT current_setting('transaction_read_only'), current_setting('search_path');

-- Retried, it may fail again at once: the run is open by then.
SELECT test.define('sql-again', 'a {"when": [{"sql": "select 1 / ($1 #>> ''{run,n}'')::integer > 0"}]}');
SELECT test.start('sql-again', 'again', '{"n": 0}');
SELECT millrace.retry(test.run('again'));
SELECT test.show('again');
SELECT event, step, attempt FROM test.log('again');

-- With the rights of the definer, and on his path.
CREATE ROLE condition_author;
GRANT millrace_client TO condition_author;
GRANT USAGE ON SCHEMA test TO condition_author;
CREATE TABLE test.secrets (n integer);
GRANT SELECT ON test.secrets TO condition_author;
SET ROLE condition_author;
SELECT version FROM millrace.define_workflow('{"workflow": "theft", "steps": [{"key": "a", "handler": "noop", "when": {"sql": "select count(*) >= 0 and current_user = ''condition_author'' from secrets"}}]}', 'test');
RESET ROLE;
SELECT test.start('theft', 'allowed');
SELECT test.show('allowed');
REVOKE SELECT ON test.secrets FROM condition_author;
SELECT test.start('theft', 'refused');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('refused');
CALL test.work('x');

-- What is no condition.
SELECT v.path, v.code, v.message, v.hint FROM unnest(ARRAY['{}', '{"sql": 5}', '["$.run.a", {"sql": "select 1 +"}]', '{"sql": "select true", "timeout": 0, "cache": "soon"}', '[{"sql": "select true", "tiemout": 1}]', '{"sql": "select true; select false"}', '5']::jsonb[]) c,
    millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'steps', jsonb_build_array(jsonb_build_object('key', 'a', 'handler', 'noop', 'when', c)))) v;
DROP OWNED BY condition_author;
DROP ROLE condition_author;
