-- Subscriptions: every committed event once, in order, with its names; positions; and what a look costs.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
-- What a subscription gets, with the position behind it kept in `last`; nothing is stored.
CREATE TABLE test.last (name text PRIMARY KEY, "position" text);
CREATE FUNCTION test.read(subscription text, n integer DEFAULT 1000) RETURNS TABLE (run text, event text, step text, version integer, tenant text) LANGUAGE plpgsql AS $$
DECLARE
    e record;
BEGIN
    FOR e IN SELECT * FROM millrace.read_events(subscription, n, (SELECT l.position FROM test.last l WHERE l.name = subscription)) LOOP
        run := (SELECT r.trace FROM millrace.runs r WHERE r.run_id = e.run_id); event := e.kind; step := e.key; version := e.version; tenant := e.tenant;
        RETURN NEXT;
    END LOOP;
    -- the last row has a position, always
    IF e.event_id IS NOT NULL THEN
        INSERT INTO test.last VALUES (subscription, e.position) ON CONFLICT (name) DO UPDATE SET position = excluded.position;
    END IF;
END $$;
SELECT test.register('x');
SELECT test.define('subscriptions', 'a', 'b <- a');

SELECT millrace.subscribe('all', 'beginning'), millrace.subscribe('new'), millrace.subscribe('new'), millrace.subscribe('new', 'beginning');
SELECT test.start('subscriptions', 'first', tenant => 'acme');
CALL test.work('x');
SELECT * FROM test.read('new');
SELECT * FROM test.read('new');
-- in small pieces: the same, each once
DELETE FROM test.last;
SELECT * FROM test.read('new', 2);
SELECT * FROM test.read('new', 2);
SELECT * FROM test.read('new', 2);
SELECT * FROM test.read('new', 2);
-- every event there is, for whoever began at the beginning
SELECT count(*) = (SELECT count(*) FROM millrace.events) AS complete, count(DISTINCT event_id) = count(*) AS once,
       bool_and(workflow IS NOT NULL AND version IS NOT NULL AND tenant IS NOT NULL AND (key IS NULL) = (step_no IS NULL)) AS named
FROM millrace.read_events('all', 100000);
SELECT count(*) FROM (SELECT e.*, r.workflow, r.version, r.tenant, s.key FROM millrace.events e JOIN millrace.runs r USING (run_id) LEFT JOIN millrace.steps s USING (run_id, step_no)
                      EXCEPT SELECT event_id, run_id, step_no, kind, attempt, agent_id, at, data, workflow, version, tenant, key FROM millrace.read_events('all', 100000)) e;

-- From a time on: the first event at or after it, and all that follow.
SELECT test.at(157766500);
SELECT test.start('subscriptions', 'second');
SELECT test.at(157766600);
SELECT test.start('subscriptions', 'third');
SELECT millrace.subscribe('since', '2035-01-01 00:01:40+00'), millrace.subscribe('later', '2035-01-01 00:01:41+00'), millrace.subscribe('future', '2036-01-01');
SELECT run, event FROM test.read('since');
SELECT run, event FROM test.read('later');
SELECT run, event FROM test.read('future');

-- Positions are stored, never go back, and are nobody else's business.
SELECT "position" AS after_first FROM millrace.read_events('new', 1) \gset
SELECT "position" AS after_second FROM (SELECT * FROM millrace.read_events('new', 2) OFFSET 1) e \gset
SELECT millrace.commit_position('new', :'after_second');
SELECT millrace.commit_position('new', :'after_second');
SELECT * FROM test.fails(format('SELECT millrace.commit_position(%L, %L)', 'new', :'after_first'));
SELECT count(*) FROM millrace.read_events('new');
SELECT name, started_from, lag_events > 0 AS behind, lag, test.seconds(stored_at) AS stored, overtaken_from FROM millrace.subscriptions ORDER BY name COLLATE "C";
SELECT millrace.commit_position('new', (SELECT "position" FROM millrace.read_events('new') ORDER BY event_id DESC LIMIT 1));
SELECT lag_events, lag FROM millrace.subscriptions WHERE name = 'new';

-- A rollback takes nothing from a reader, and gives it nothing.
BEGIN;
SELECT test.start('subscriptions', 'undone');
SELECT count(*) FROM millrace.read_events('new');
ROLLBACK;
SELECT count(*) FROM millrace.read_events('new');

-- Reading and unsubscribing by a name that is not there, and other mistakes.
SELECT * FROM test.fails($$SELECT millrace.read_events('ne')$$);
SELECT * FROM test.fails($$SELECT millrace.commit_position('nowhere', (SELECT "position" FROM millrace.subscriptions WHERE name = 'new'))$$);
SELECT * FROM test.fails($$SELECT millrace.unsubscribe('nowhere')$$);
SELECT * FROM test.fails($$SELECT millrace.read_events('new', 0)$$);
SELECT * FROM test.fails($$SELECT millrace.read_events('new', after => 'x')$$);
SELECT * FROM test.fails($$SELECT millrace.read_events('new', after => '(1,0,0,0,{},{},,,,,,,)')$$);
SELECT * FROM test.fails($$SELECT millrace.subscribe('', 'now')$$);
SELECT * FROM test.fails($$SELECT millrace.subscribe('x', 'yesterdays')$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM test.fails($$SELECT millrace.read_events('new')$$);
ROLLBACK;

-- What a look costs: time in what is new, with 100,000 events before it, and behind a writer that has been open since then.
CREATE FUNCTION test.cost(statement text, bound bigint, OUT scanned bigint, OUT within boolean) LANGUAGE plpgsql AS $$
DECLARE
    was record;
    now record;
BEGIN
    SELECT sum(seq_tup_read) AS scanned, sum(idx_tup_fetch) AS fetched INTO was FROM pg_stat_xact_user_tables WHERE relname ~ '^(event|run|step)_[0-9]+$';
    EXECUTE statement;
    SELECT sum(seq_tup_read) AS scanned, sum(idx_tup_fetch) AS fetched INTO now FROM pg_stat_xact_user_tables WHERE relname ~ '^(event|run|step)_[0-9]+$';
    scanned := now.scanned - was.scanned;
    within := now.fetched - was.fetched < bound;
END $$;
SELECT millrace.subscribe('cost');
BEGIN;
SET LOCAL millrace.notify = off;
SELECT test.start('subscriptions', 'open');
PREPARE TRANSACTION 'subscriptions';
CREATE PROCEDURE test.fill(rounds integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR round IN 1..rounds LOOP
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
        SELECT test.run('first'), millrace_internal.clock(), pg_current_xact_id()::text::bigint, 0, 2 FROM generate_series(1, 10000);
        COMMIT;
    END LOOP;
END $$;
CALL test.fill(10);
-- what is full has its summary, made here or by the keeper
DO $$
BEGIN
    WHILE EXISTS (SELECT FROM millrace_internal.partition t WHERE parent = 'event'
                  AND summarised < (pg_relation_size(format('millrace_internal.%I', 'event_' || from_id)) / 8192 / 32 - 1) * 32
                  AND from_id <= millrace_internal.last_event_id()) LOOP
        PERFORM millrace.keep();
        COMMIT;
    END LOOP;
END $$;
SELECT millrace.commit_position('cost', (SELECT "position" FROM millrace.read_events('cost', 100000) ORDER BY event_id DESC LIMIT 1));
SELECT millrace.commit_position('cost', (SELECT "position" FROM millrace.read_events('cost', 100000) ORDER BY event_id DESC LIMIT 1));
SELECT test.start('subscriptions', 'last');
SELECT * FROM test.cost($$SELECT millrace.read_events('cost')$$, 20000);
SELECT count(*) FROM millrace.read_events('cost');
SELECT * FROM test.cost($$SELECT millrace.read_events('all', 10)$$, 20000);
COMMIT PREPARED 'subscriptions';
SELECT * FROM test.cost($$SELECT millrace.read_events('cost')$$, 50000);
SELECT count(*) FROM millrace.read_events('cost');

-- A session that has read a page before reads it again when it has changed: by rows that come, that go,
-- and that were there already when their transaction ends.
CREATE VIEW test.differences AS
WITH found AS MATERIALIZED (SELECT * FROM millrace_internal.events_between(0, 9223372036854775807, 0, 9223372036854775807))
SELECT count(*) FROM ((TABLE found EXCEPT ALL TABLE millrace_internal.event) UNION ALL (TABLE millrace_internal.event EXCEPT ALL TABLE found)) d;
SELECT * FROM test.differences;
DELETE FROM millrace_internal.event WHERE run_id = test.run('first') AND kind = 2;
SELECT * FROM test.differences;
SELECT max(event_id) AS last_id, max(xact_id) AS last_xact FROM millrace_internal.event \gset
CREATE VIEW test.found AS SELECT count(*) FROM millrace_internal.events_between(:last_id, 9223372036854775807, :last_xact, 9223372036854775807);
TABLE test.found;
SELECT test.start('subscriptions', 'on a known page');
TABLE test.found;
BEGIN;
SELECT test.start('subscriptions', 'late');
TABLE test.found;
PREPARE TRANSACTION 'late';
TABLE test.found;
COMMIT PREPARED 'late';
TABLE test.found;
SELECT count(*) FROM millrace_internal.events_between(:last_id, 9223372036854775807, 0, :last_xact);
SELECT * FROM test.differences;
SELECT millrace.unsubscribe(name) FROM millrace.subscriptions \g /dev/null
