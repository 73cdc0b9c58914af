-- The log: every kind of event, in order, written with what it tells of.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
SELECT test.define('events', 'a {"retry": {"limit": 1, "backoff": 1, "jitter": 0}}', 'b <- a', 'c', 'd <- c');
SELECT test.start('events', 'first'), test.start('events', 'second');
SELECT millrace.pause(test.run('first'));
SELECT millrace.resume(test.run('first'));
SELECT test.claim('x', 2);
SELECT test.report('x', 'first', 'a', 'failed', error => 'once');
SELECT test.report('x', 'first', 'c', 'released');
SELECT test.at(1);
SELECT millrace.heartbeat(test.agent('x')) -> 'revoked' AS revoked;
SELECT test.claim('x', 2);
SELECT test.report('x', 'first', 'a', 'fatal', error => 'twice');
SELECT test.report('x', 'first', 'c');
SELECT test.claim('x');
SELECT test.report('x', 'first', 'd');
SELECT millrace.resolve(test.run('first'), 'a', '1', 'Ada');
SELECT test.claim('x');
SELECT test.report('x', 'first', 'b');
SELECT millrace.cancel(test.run('second'), 'enough');
SELECT * FROM test.log('first');
SELECT * FROM test.log('second');

-- Every kind has been seen, here and in what ran before.
SELECT k AS number, millrace_internal.event_kind_name(k::smallint) AS kind, EXISTS (SELECT FROM millrace_internal.event e WHERE e.kind = k) AS seen FROM generate_series(1, 16) k;
-- And every kind that has been seen has a name.
SELECT DISTINCT e.kind FROM millrace_internal.event e WHERE millrace_internal.event_kind_name(e.kind) IS NULL;

-- Numbers grow with time within each run, whoever wrote them; every state of a step that has ended has its event.
SELECT count(*) FROM (SELECT at < lag(at) OVER (PARTITION BY run_id ORDER BY event_id) AS backwards FROM millrace.events WHERE run_id IN (test.run('first'), test.run('second'))) e WHERE backwards;
SELECT s.state, count(*) FILTER (WHERE last.kind IS DISTINCT FROM CASE s.state WHEN 'completed' THEN 'step_completed' ELSE 'step_' || s.state END AND NOT (s.state = 'completed' AND last.kind = 'step_resolved')) AS without
FROM millrace.steps s LEFT JOIN LATERAL (SELECT e.kind FROM millrace.events e WHERE e.run_id = s.run_id AND e.step_no = s.step_no ORDER BY e.event_id DESC LIMIT 1) last ON true
WHERE s.run_id IN (test.run('first'), test.run('second')) GROUP BY 1 ORDER BY 1;
SELECT agent_id = test.agent('x') AS agent, count(*) FROM millrace.events WHERE run_id = test.run('first') GROUP BY 1 ORDER BY 1;

-- A rollback takes the events with it.
BEGIN;
SELECT millrace.retry(test.run('second'));
SELECT event FROM test.log('second') OFFSET 6;
ROLLBACK;
SELECT event FROM test.log('second') OFFSET 6;

-- A reader that remembers what was still open misses nothing: the transaction is in the row.
SELECT bool_and(e.xact_id > 0 AND e.xact_id < pg_current_xact_id()::text::bigint) FROM millrace_internal.event e WHERE e.run_id = test.run('first');
