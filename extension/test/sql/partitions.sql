-- Partitions: made ahead of need, in the middle of work, outside the extension.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
SELECT test.define('partitions', 'a', 'b <- a');
SET millrace.runs_per_partition = 256;
SET millrace.events_per_partition = 256;
CREATE TEMP TABLE before AS SELECT parent, count(*) AS n, max(to_id) AS past FROM millrace_internal.partition GROUP BY 1;
-- To where the present partitions end, and on, in small pieces.
SELECT setval('millrace_internal.run_seq', (SELECT past / 256 - 100 FROM before WHERE parent = 'run')) IS NOT NULL AS runs,
       setval('millrace_internal.event_id_seq', (SELECT past - 100 FROM before WHERE parent = 'event')) IS NOT NULL AS events;
CREATE PROCEDURE pg_temp.work() LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    FOR round IN 1..30 LOOP
        PERFORM FROM millrace.submit_many('partitions', array_fill('1'::jsonb, '{10}'), trace => 'partitions') id;
        COMMIT;
        FOR both IN 1..2 LOOP
            SELECT array_agg(run_id) AS runs, array_agg(step_no) AS steps, array_agg(token) AS tokens, count(*)::integer AS n INTO held FROM millrace.claim(test.agent('x'), 10);
            COMMIT;
            PERFORM FROM millrace.report(test.agent('x'), held.runs, held.steps, held.tokens, array_fill('completed'::text, ARRAY[held.n]), array_fill('1'::text, ARRAY[held.n]));
            COMMIT;
            PERFORM millrace.keep();
            COMMIT;
        END LOOP;
    END LOOP;
END $$;
CALL pg_temp.work();
SELECT state, steps_completed, count(*) FROM millrace.runs WHERE trace = 'partitions' GROUP BY 1, 2;
SELECT count(DISTINCT r.tableoid) > 1 AS runs, count(DISTINCT i.tableoid) > 1 AS inputs, count(DISTINCT s.tableoid) > 1 AS steps, count(DISTINCT o.tableoid) > 1 AS outputs, count(DISTINCT e.tableoid) > 1 AS events
FROM millrace_internal.run r JOIN millrace_internal.run_input i USING (run_id) JOIN millrace_internal.step s USING (run_id) JOIN millrace_internal.output o USING (run_id, step_no) JOIN millrace_internal.event e USING (run_id)
WHERE r.trace = 'partitions';

-- Each range once, without a hole, each with all its tables.
SELECT parent, bool_and(from_id = coalesce(before, 0)) AS seamless FROM (SELECT parent, from_id, lag(to_id) OVER (PARTITION BY parent ORDER BY from_id) AS before FROM millrace_internal.partition) p GROUP BY 1 ORDER BY 1;
SELECT p.parent, t.of, count(*) FILTER (WHERE to_regclass(format('millrace_internal.%I', t.of || '_' || p.from_id)) IS NULL) AS missing
FROM millrace_internal.partition p JOIN (VALUES ('run', 'run'), ('run', 'run_input'), ('run', 'step'), ('run', 'output'), ('event', 'event')) t (parent, of) USING (parent) GROUP BY 1, 2 ORDER BY 1, 2;
-- Not the extension's own, so that a dump has their rows.
SELECT count(*) FROM pg_inherits i JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.inhrelid AND d.deptype = 'e'
WHERE i.inhparent IN ('millrace_internal.run'::regclass, 'millrace_internal.step'::regclass, 'millrace_internal.event'::regclass);

-- The limits of the settings.
SELECT * FROM test.fails('SET millrace.runs_per_partition = 1');
RESET millrace.runs_per_partition;
RESET millrace.events_per_partition;
