-- Which runs are alive: what the horizon passes, what is reopened behind it, what ends, and transactions that stay open.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
SELECT test.define('alive', 'a');
-- To the last run that was submitted; it waits for whoever has a number and may have submitted one.
CREATE PROCEDURE pg_temp.pass() LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT coalesce(max(below), 0) FROM millrace_internal.run_horizon) <= (SELECT max(run_id) FROM millrace_internal.run) LOOP
        PERFORM millrace_internal.keep_run_horizon(1);
        COMMIT;
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.alive(most bigint DEFAULT 1000, after_run bigint DEFAULT -1) RETURNS TABLE (names text) LANGUAGE sql AS $$
    SELECT string_agg(r.trace || ' ' || a.state, ', ' ORDER BY a.ord)
    FROM millrace_internal.runs_alive(after_run, most) WITH ORDINALITY a (run_id, state, priority, tenant_id, ord) JOIN millrace.runs r USING (run_id)
$$;
CREATE FUNCTION pg_temp.noted() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(r.trace, ', ' ORDER BY l.run_id) FROM millrace_internal.long_run l JOIN millrace.runs r USING (run_id) WHERE r.workflow = 'alive'
$$;
SELECT test.start('alive', name) FROM unnest('{r1,r2,r3,r4}'::text[]) name \g /dev/null
SELECT millrace.cancel(test.run('r2')), millrace.pause(test.run('r3')) \g /dev/null
-- Young: the runs themselves tell.
SELECT * FROM pg_temp.alive();
SELECT pg_temp.noted();
-- Old: those that were alive are noted.
CALL pg_temp.pass();
SELECT test.start('alive', name) FROM unnest('{r5,r6}'::text[]) name \g /dev/null
SELECT * FROM pg_temp.alive();
SELECT pg_temp.noted();
SELECT * FROM pg_temp.alive(3);
SELECT * FROM pg_temp.alive(2, test.run('r3'));
SELECT * FROM pg_temp.alive(2, test.run('r5'));
SELECT * FROM pg_temp.alive(2, test.run('r6'));
-- A note may outlive its run, and is looked up in vain until it is swept.
SELECT millrace.cancel(test.run('r4')) \g /dev/null
SELECT * FROM pg_temp.alive();
SELECT pg_temp.noted();
CALL pg_temp.pass();
SELECT pg_temp.noted();
-- A piece at a time.
SELECT millrace.cancel(test.run('r1')), millrace.cancel(test.run('r5')) \g /dev/null
SELECT millrace_internal.long_runs_sweep(millrace_internal.long_runs_sweep(0, 2), 2) = test.run('r6') AS two_by_two;
SELECT millrace_internal.long_runs_sweep(test.run('r6'), 2) AS round_again;
SELECT pg_temp.noted();
-- Reopened behind the horizon, and before it.
SELECT test.define('breaks', 'a {"retry": {"limit": 0}}');
SELECT test.start('breaks', name) FROM unnest('{b1,b2}'::text[]) name \g /dev/null
SELECT millrace.cancel(test.run('r6')), millrace.resume(test.run('r3')), millrace.cancel(test.run('r3')) \g /dev/null
CALL test.work('x', '{a}');
SELECT * FROM pg_temp.alive();
CALL pg_temp.pass();
SELECT test.start('breaks', 'b3') \g /dev/null
CALL test.work('x', '{a}');
SELECT millrace.retry(test.run('b1')), millrace.retry(test.run('b3'));
SELECT * FROM pg_temp.alive();
CALL pg_temp.pass();
SELECT * FROM pg_temp.alive();
CALL test.work('x');
SELECT * FROM pg_temp.alive();
-- Few new runs are not worth a look.
SELECT test.start('alive', 'r7') \g /dev/null
SELECT millrace_internal.keep_run_horizon(), next IS NULL AS waits FROM millrace_internal.run_horizon;
-- A transaction that has a number already leaves it to the next.
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL AS numbered;
SELECT millrace_internal.keep_run_horizon(1), next IS NULL AS waits FROM millrace_internal.run_horizon;
COMMIT;
SELECT value FROM millrace.metrics() WHERE name = 'millrace_runs_alive' AND labels = '{"state": "running"}';
