-- Steps that wait cost nothing while they wait: what claims and the keeper read does not grow with them.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
SELECT version FROM millrace.define_workflow('{"workflow": "sleepers", "steps": [{"key": "date", "wait_for": {"duration": "1 day"}}, {"key": "reply", "wait_for": {"signal": "s"}, "timeout": "1 day"}]}');
SELECT test.define('awake', 'a');

-- Pages that a statement looks at, at the least, when it has nothing left to do.
CREATE FUNCTION pg_temp.pages(statement text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    plan  json;
    least integer;
BEGIN
    FOR i IN 1..10 LOOP
        EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || statement INTO plan;
        least := least(least, (plan #>> '{0,Plan,Shared Hit Blocks}')::integer + (plan #>> '{0,Plan,Shared Read Blocks}')::integer);
    END LOOP;
    RETURN least;
END $$;
CREATE TEMP TABLE cost (sleeping integer, call text, pages integer);
CREATE PROCEDURE pg_temp.sleep(sleeping integer) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM millrace.submit_many('sleepers', array_fill(NULL::jsonb, ARRAY[sleeping]));
    COMMIT;
    -- those who come to wait for a signal are looked at once
    WHILE millrace.keep() <= millrace_internal.clock() LOOP COMMIT; END LOOP;
    COMMIT;
END $$;
CREATE PROCEDURE pg_temp.measure(sleeping integer) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cost SELECT sleeping, 'keep', pg_temp.pages('SELECT millrace.keep()');
    INSERT INTO cost SELECT sleeping, 'claim', pg_temp.pages(format('SELECT * FROM millrace.claim(%s, 10)', test.agent('x')));
    COMMIT;
END $$;
-- timers that are done with stand at the head until they are vacuumed
CALL pg_temp.sleep(100);
VACUUM millrace_internal.timer;
CALL pg_temp.measure(100);
CALL pg_temp.sleep(1000);
VACUUM millrace_internal.timer;
CALL pg_temp.measure(1000);
SELECT (SELECT count(*) FROM millrace_internal.step s WHERE s.state = 5) AS asleep;
-- an index may be a level higher
SELECT few.call, many.pages - few.pages < 20 AS the_same FROM cost few JOIN cost many USING (call) WHERE few.sleeping = 100 AND many.sleeping = 1000 ORDER BY 1;

-- A signal costs what it ends.
SELECT test.start('sleepers', 'called');
SELECT test.at(1);
SELECT pages < 500 AS cheap FROM (SELECT pg_temp.pages(format('SELECT millrace.signal(%s, %L)', test.run('called'), 's')) AS pages) p;
SELECT test.show('called');

-- All of them wake up, a thousand in each of the keeper's transactions.
SELECT test.at(86401);
SELECT count(*) FILTER (WHERE state = 5) AS asleep, count(*) FILTER (WHERE state = 10 AND def_no = (SELECT def_no FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.key = 'date')) AS slept_well
FROM millrace_internal.step s WHERE s.version_id = (SELECT max(version_id) FROM millrace.workflows WHERE workflow = 'sleepers');
SELECT count(*) FROM millrace_internal.wait;
SELECT state, count(*) FROM millrace.runs WHERE workflow = 'sleepers' GROUP BY 1 ORDER BY 1;
