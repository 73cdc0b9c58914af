-- The dispatcher's memory alone: order, tenants, transactions. On the plain tier its functions do nothing, and every
-- comparison below is with nothing.
SET search_path = millrace_internal;
\set SHOW_CONTEXT never

CREATE FUNCTION pg_temp.push(runs bigint[], step int DEFAULT 1, handler int DEFAULT 901, priority int DEFAULT 0,
    tenant int DEFAULT 0, weight real DEFAULT 1, rank real DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    SELECT dispatcher_push(array_fill(900, n), array_fill(handler, n), array_fill(priority::smallint, n), array_fill(tenant, n),
                           array_fill(weight, n), runs, array_fill(rank, n), array_fill(step, n))
    FROM (SELECT ARRAY[cardinality(runs)] AS n) x
$$;
CREATE FUNCTION pg_temp.pop(most int, handlers int[] DEFAULT '{901}', capacities int[] DEFAULT '{1000}') RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(run_id || '.' || step_no, ' '), '') FROM dispatcher_pop('{900}', handlers, capacities, most)
$$;
CREATE FUNCTION pg_temp.depth(handler int DEFAULT 901) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(depth), 0) FROM dispatcher_stats() s WHERE s.queue_id = 900 AND s.handler_id = handler
$$;
-- What is expected of the dispatcher; on the plain tier nothing ever comes out.
CREATE FUNCTION pg_temp.is(got anyelement, wanted anyelement) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN NOT dispatcher_attached() OR got IS NOT DISTINCT FROM wanted THEN 'ok'
                ELSE format('got %L, wanted %L', got, wanted) END
$$;

-- Claims look into the dispatcher once it has been filled; the keeper fills it where Millrace is at home.
SELECT FROM settle_in();
DO $$
BEGIN
    WHILE (SELECT state FROM dispatcher_state()) = 'cold' LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT coalesce(entries_used, 0) AS used_before FROM dispatcher_state() \gset

-- Priority, then older runs, then higher rank, then step.
BEGIN;
SELECT FROM pg_temp.push('{7}', step => 3, rank => 1);
SELECT FROM pg_temp.push('{7}', step => 2, rank => 1);
SELECT FROM pg_temp.push('{7}', step => 4, rank => 9);
SELECT FROM pg_temp.push('{6}', step => 8);
SELECT FROM pg_temp.push('{9}', step => 1, priority => -5);
SELECT FROM pg_temp.push('{1}', step => 1, priority => 5);
SELECT pg_temp.is(pg_temp.pop(9), '') AS "nothing before the commit";
COMMIT;
SELECT pg_temp.is(pg_temp.depth(), 6::bigint) AS "depth";
SELECT pg_temp.is(pg_temp.pop(9), '9.1 6.8 7.4 7.2 7.3 1.1') AS "in order";
SELECT pg_temp.is(pg_temp.depth(), 0::bigint) AS "gone with the commit";

-- A step is there once; pushed again it moves to its new place.
SELECT FROM pg_temp.push('{1,2,3}');
SELECT FROM pg_temp.push('{1,2,3}');
SELECT FROM pg_temp.push('{1}', priority => 3);
SELECT FROM pg_temp.push('{3}', priority => -3);
SELECT pg_temp.is(pg_temp.depth(), 3::bigint) AS "once each";
SELECT pg_temp.is(pg_temp.pop(9), '3.1 2.1 1.1') AS "moved";

-- Two thousand steps in any order, a third of them moved and a fifth removed, come out as a sort would have them.
SELECT setseed(0.25);
CREATE TEMP TABLE drawn AS
SELECT (random() * 50)::bigint AS run, g AS step, (random() * 4)::smallint AS priority, (random() * 5)::real AS rank
FROM generate_series(1, 2000) g ORDER BY random();
CREATE FUNCTION pg_temp.push_drawn() RETURNS void LANGUAGE sql AS $$
    SELECT dispatcher_push(array_agg(900), array_agg(901), array_agg(priority), array_agg(0), array_agg(1::real), array_agg(run), array_agg(rank), array_agg(step))
    FROM drawn
$$;
SELECT FROM pg_temp.push_drawn();
UPDATE drawn SET priority = (random() * 4)::smallint, rank = (random() * 5)::real WHERE step % 3 = 0;
SELECT FROM pg_temp.push_drawn();
WITH gone AS (DELETE FROM drawn WHERE step % 5 = 0 RETURNING run, step)
SELECT FROM (SELECT dispatcher_remove(array_agg(run), array_agg(step)) FROM gone) x;
SELECT pg_temp.is(pg_temp.pop(2000, capacities => '{2000}'),
    (SELECT string_agg(run || '.' || step, ' ' ORDER BY priority, run, rank DESC, step) FROM drawn)) AS "sorted";

-- Several handlers, with their capacities; the best head of all goes first.
SELECT FROM pg_temp.push('{1,3,5}', handler => 901);
SELECT FROM pg_temp.push('{2,4,6}', handler => 902);
SELECT pg_temp.is(pg_temp.pop(9, '{901,902}', '{1,2}'), '1.1 2.1 4.1') AS "as the capacities allow";
SELECT pg_temp.is(pg_temp.pop(9, '{902,901,902}', '{0,9,9}'), '3.1 5.1 6.1') AS "a handler named twice";
SELECT pg_temp.is(pg_temp.pop(0), '') AS "none wanted";

-- A rollback gives back; a committed transaction does not.
SELECT FROM pg_temp.push('{1,2,3}');
BEGIN;
SELECT pg_temp.is(pg_temp.pop(2), '1.1 2.1') AS "popped";
ROLLBACK;
SELECT pg_temp.is(pg_temp.pop(9), '1.1 2.1 3.1') AS "back after the rollback";

-- Subtransactions: pushes and pops of those that are rolled back do not count.
BEGIN;
SELECT FROM pg_temp.push('{1}');
SAVEPOINT a;
SELECT FROM pg_temp.push('{2}');
SAVEPOINT b;
SELECT FROM pg_temp.push('{3}');
RELEASE b;
ROLLBACK TO a;
SELECT FROM pg_temp.push('{4}');
SAVEPOINT c;
SELECT FROM pg_temp.push('{5}');
RELEASE c;
COMMIT;
SELECT pg_temp.is(pg_temp.depth(), 3::bigint) AS "without 2 and 3";
BEGIN;
SELECT pg_temp.is(pg_temp.pop(1), '1.1') AS "first";
SAVEPOINT a;
SAVEPOINT b;
SELECT pg_temp.is(pg_temp.pop(1), '4.1') AS "second";
RELEASE b;
ROLLBACK TO a;
SELECT pg_temp.is(pg_temp.pop(9), '4.1 5.1') AS "second again";
COMMIT;
SELECT pg_temp.is(pg_temp.depth(), 0::bigint) AS "all gone";

-- Put back at once; what this transaction has not popped is not its to put back.
SELECT FROM pg_temp.push('{1,2}');
BEGIN;
SELECT pg_temp.is(pg_temp.pop(9), '1.1 2.1') AS "both";
SELECT FROM dispatcher_put_back('{2,7}', '{1,1}');
SELECT pg_temp.is(pg_temp.depth(), 1::bigint) AS "one waits again";
SELECT pg_temp.is(pg_temp.pop(9), '2.1') AS "and is popped again";
SELECT FROM dispatcher_put_back('{2}', '{1}');
COMMIT;
SELECT pg_temp.is(pg_temp.pop(9), '2.1') AS "only what was put back";

-- Claimed and released in one transaction, it waits again; claimed, and released by the next before the commit was noted, too.
SELECT FROM pg_temp.push('{1}');
BEGIN;
SELECT pg_temp.is(pg_temp.pop(9), '1.1') AS "claimed";
SELECT FROM pg_temp.push('{1}');
COMMIT;
SELECT pg_temp.is(pg_temp.pop(9), '1.1') AS "and released";

-- Removal, undone by a rollback.
SELECT FROM pg_temp.push('{1,2,3}');
BEGIN;
SELECT FROM dispatcher_remove('{1,2}', '{1,1}');
ROLLBACK;
SELECT pg_temp.is(pg_temp.depth(), 3::bigint) AS "none removed";
SELECT FROM dispatcher_remove('{1,3,4}', '{1,1,1}');
SELECT pg_temp.is(pg_temp.pop(9), '2.1') AS "two removed";

-- Tenants share by weight, whatever their runs' age: of eight, two to one.
SELECT FROM pg_temp.push(ARRAY(SELECT generate_series(1, 20)), tenant => 1, weight => 1);
SELECT FROM pg_temp.push(ARRAY(SELECT generate_series(101, 120)), tenant => 2, weight => 2);
CREATE FUNCTION pg_temp.pop_by_tenant(most int) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s:%s', count(*) FILTER (WHERE run_id <= 100), count(*) FILTER (WHERE run_id > 100))
    FROM dispatcher_pop('{900}', '{901}', '{1000}', most)
$$;
SELECT pg_temp.is(pg_temp.pop_by_tenant(9), '3:6') AS "two to one";
SELECT pg_temp.is(pg_temp.pop_by_tenant(6), '2:4') AS "and on";
-- A better priority goes before a turn.
SELECT FROM pg_temp.push('{90,91}', tenant => 1, weight => 1, priority => -1);
SELECT pg_temp.is(pg_temp.pop(2), '90.1 91.1') AS "priority first";
-- One that comes back after each service gets its turn, and no more.
CREATE FUNCTION pg_temp.in_turns() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    served text := '';
BEGIN
    FOR i IN 1..2 LOOP
        served := served || pg_temp.pop_by_tenant(1) || ' ';
    END LOOP;
    RETURN served;
END $$;
SELECT FROM pg_temp.pop(1000);
SELECT FROM pg_temp.push(ARRAY(SELECT generate_series(1, 20)), tenant => 1);
SELECT FROM pg_temp.push('{101}', tenant => 2);
SELECT pg_temp.is(pg_temp.in_turns(), '1:0 0:1 ') AS "one each";
SELECT FROM pg_temp.push('{102}', tenant => 2);
SELECT pg_temp.is(pg_temp.in_turns(), '1:0 0:1 ') AS "one each again";
SELECT FROM pg_temp.pop(1000);

-- Would a step be claimed before what waits?
SELECT pg_temp.is(dispatcher_sorts_first(900, 901, 0::smallint, 0, 5, 1, 1), true) AS "first where nothing waits";
SELECT FROM pg_temp.push('{5}', step => 5, tenant => 1, rank => 5);
SELECT pg_temp.is(dispatcher_sorts_first(array_fill(900, '{6}'), array_fill(901, '{6}'), '{0,0,0,0,-1,1}', '{1,1,1,1,1,2}',
    '{4,6,5,5,9,1}', '{1,1,6,4,1,1}', '{9,9,9,9,9,9}'), '{t,f,t,f,t,f}') AS "by run, rank and priority";
SELECT pg_temp.is(dispatcher_sorts_first(900, 901, 0::smallint, 2, 1, 1, 1), false) AS "who waits goes before another tenant";
SELECT FROM dispatcher_charge('{900,900}', '{901,901}', '{1,1}', '{1,1}');
SELECT pg_temp.is(dispatcher_sorts_first(900, 901, 0::smallint, 2, 1, 1, 1), true) AS "unless it has had its turns";
SELECT FROM pg_temp.pop(1000);

-- What is prepared is not published; its pops go back at once.
SELECT FROM pg_temp.push('{1}');
BEGIN;
SELECT FROM pg_temp.push('{2}');
SELECT pg_temp.is(pg_temp.pop(9), '1.1') AS "popped";
PREPARE TRANSACTION 'millrace_dispatcher';
SELECT pg_temp.is(pg_temp.pop(9), '1.1') AS "back";
COMMIT PREPARED 'millrace_dispatcher';
SELECT pg_temp.is(pg_temp.depth(), 0::bigint) AS "the push is the sweep's";

-- Arguments that make no sense.
CREATE FUNCTION pg_temp.code_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SELECT pg_temp.is(pg_temp.code_of($$SELECT dispatcher_remove('{1,2}', '{1}')$$), 'MR001') AS "lengths differ";
SELECT pg_temp.is(pg_temp.code_of($$SELECT pg_temp.push('{1}', weight => 0)$$), 'MR001') AS "no weight";
SELECT pg_temp.is(pg_temp.code_of($$SELECT pg_temp.push('{1}', rank => 'NaN')$$), 'MR001') AS "no rank";
SELECT pg_temp.is(pg_temp.code_of($$SELECT dispatcher_remove('{1,NULL}', '{1,1}')$$), 'MR001') AS "null";
SELECT pg_temp.is(pg_temp.code_of($$SELECT count(*) FROM dispatcher_pop(array_fill(1, '{1001}'), '{1}', '{1}', 1)$$), 'MR002') AS "too many queues";

-- An empty dispatcher's account.
SELECT pg_temp.is((SELECT sum(depth) + sum(popped) FROM dispatcher_stats() WHERE queue_id = 900), 0::numeric) AS "nothing left";
SELECT pg_temp.is((SELECT entries_used FROM dispatcher_state()), :used_before) AS "no entry leaked";
SELECT ((SELECT state FROM dispatcher_state()) = 'absent') <> dispatcher_attached() AS "absent on the plain tier";
