-- Durations are learnt from what is stored; ranks, and so the order of claims inside a run, follow them.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');

-- A step completes after so many seconds.
CREATE FUNCTION test.took(run text, step text, seconds double precision) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', a.answer, a.code), ' ')
    FROM millrace.steps s,
         millrace.report(test.agent('x'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], '{completed}', elapsed => ARRAY[seconds]) a
    WHERE s.run_id = test.run(took.run) AND s.key = took.step
$$;
-- One run from start to end, with these durations.
CREATE PROCEDURE test.whole(workflow text, name text, took jsonb) LANGUAGE plpgsql AS $$
DECLARE
    step record;
BEGIN
    PERFORM test.start(workflow, name);
    COMMIT;
    LOOP
        SELECT * INTO step FROM millrace.claim(test.agent('x'));
        EXIT WHEN NOT FOUND;
        COMMIT;
        PERFORM test.took(name, step.key, (took ->> step.key)::double precision);
        COMMIT;
    END LOOP;
END $$;

-- Without durations every step counts a second, so the longer path goes first.
SELECT test.define('durations', 'root', 'left <- root', 'right <- root', 'tail <- right', 'join <- left tail');
SELECT test.start('durations', 'leaving', priority => 5);
SELECT test.claim('x'), test.report('x', 'leaving', 'root');
SELECT test.start('durations', 'waiting');
SELECT test.claim('x'), test.report('x', 'waiting', 'root');
SELECT key, state, rank FROM millrace.steps WHERE run_id = test.run('waiting') ORDER BY rank DESC, key;
SELECT test.start('durations', 'first', priority => -1);
SELECT test.claim('x');
-- What a report writes, it writes to the step and the log: durations are the keeper's business.
BEGIN;
SELECT test.took('first', 'root', 1);
SELECT count(*) FROM (SELECT xmin, xmax FROM millrace_internal.duration UNION ALL SELECT xmin, xmax FROM millrace_internal.rank UNION ALL SELECT xmin, xmax FROM millrace_internal.learning) r
WHERE pg_current_xact_id()::xid IN (xmin, xmax);
COMMIT;
SELECT test.claim('x', 2);
SELECT test.took('first', 'right', 1), test.took('first', 'left', 10);
SELECT test.claim('x'), test.took('first', 'tail', 2);
SELECT test.claim('x'), test.took('first', 'join', 0.5);
SELECT test.at(2), test.at(4);
SELECT key, samples, mean, deviation, expected FROM millrace.step_durations WHERE workflow = 'durations' ORDER BY key;
SELECT key, rank FROM millrace.dependency_paths WHERE workflow = 'durations' ORDER BY rank DESC, key;

-- What waits with an old rank is found all the same when its run ends.
SELECT millrace.cancel(test.run('leaving'));
SELECT count(*) FROM millrace_internal.ready WHERE run_id = test.run('leaving');

-- Waiting steps keep their place; steps that become ready from now on have the new one.
SELECT test.claim('x', 2);
SELECT test.start('durations', 'second');
SELECT test.claim('x'), test.report('x', 'second', 'root');
SELECT key, state, rank FROM millrace.steps WHERE run_id = test.run('second') ORDER BY rank DESC, key;
SELECT test.claim('x', 2);
SELECT key, seconds FROM millrace.critical_path(test.run('second'));
SELECT remaining_seconds FROM millrace.run_progress WHERE run_id = test.run('second');
-- Those that are handed over at once too.
SELECT test.start('durations', 'third');
SELECT test.claim('x'), test.report('x', 'third', 'root', steps => 1);

-- A refill from the tables uses the present ranks.
SELECT test.start('durations', 'refill');
SELECT test.claim('x', 10), test.report('x', 'refill', 'root');
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null

-- An estimate is the mean of its first ten durations, then follows what changes.
SELECT test.define('durations-follow', 'a', 'b <- a');
DO $$ BEGIN FOR n IN 1..4 LOOP CALL test.whole('durations-follow', 'follow', jsonb_build_object('a', n, 'b', 8)); END LOOP; END $$;
SELECT test.at(6), test.at(8);
SELECT key, samples, mean FROM millrace.step_durations WHERE workflow = 'durations-follow' ORDER BY key;
DO $$ BEGIN FOR n IN 1..30 LOOP CALL test.whole('durations-follow', 'follow', jsonb_build_object('a', 20, 'b', 8)); END LOOP; END $$;
SELECT test.at(10), test.at(12);
SELECT key, samples, extract(epoch FROM mean) BETWEEN 17 AND 20 AS near_20, extract(epoch FROM mean) = 8 AS is_8, deviation = interval '0' AS steady FROM millrace.step_durations WHERE workflow = 'durations-follow' ORDER BY key;

-- Ranks are stored anew only where one has changed by a fifth.
SELECT test.seconds(computed_at) AS computed, test.seconds(checked_at) AS checked FROM millrace_internal.rank JOIN millrace.workflows USING (version_id) WHERE workflow = 'durations-follow';
CALL test.whole('durations-follow', 'follow', '{"a": 22, "b": 9}');
SELECT test.at(14), test.at(16);
SELECT test.seconds(computed_at) AS computed, test.seconds(checked_at) AS checked FROM millrace_internal.rank JOIN millrace.workflows USING (version_id) WHERE workflow = 'durations-follow';
DO $$ BEGIN FOR n IN 1..20 LOOP CALL test.whole('durations-follow', 'follow', '{"a": 2, "b": 9}'); END LOOP; END $$;
SELECT test.at(18), test.at(20);
SELECT test.seconds(computed_at) AS computed, test.seconds(checked_at) AS checked FROM millrace_internal.rank JOIN millrace.workflows USING (version_id) WHERE workflow = 'durations-follow';

-- What has not been measured counts as expected, corrected by how far the measured ones were off.
SELECT test.define('durations-part', 'a {"expected": 10}', 'b <- a {"expected": 30}', 'c <- a {"expected": 4}');
SELECT test.start('durations-part', 'part');
SELECT test.claim('x'), test.took('part', 'a', 5);
SELECT test.at(22), test.at(24);
SELECT key, seconds FROM millrace_internal.estimates((SELECT version_id FROM millrace.workflows WHERE workflow = 'durations-part')) e JOIN millrace.steps s ON s.step_no = e.def_no AND s.run_id = test.run('part') ORDER BY 1;
SELECT key, rank FROM millrace.dependency_paths WHERE workflow = 'durations-part' ORDER BY key;
SELECT millrace.cancel(test.run('part'));
-- Nothing at all is a duration too; paths are told apart by their length then.
SELECT test.define('durations-none', 'a', 'b', 'c <- b');
CALL test.whole('durations-none', 'none', '{"a": 0, "b": 0, "c": 0}');
SELECT test.at(26), test.at(28);
SELECT key, mean FROM millrace.step_durations WHERE workflow = 'durations-none' ORDER BY 1;
SELECT string_agg(key, ' ' ORDER BY rank DESC) FROM millrace.dependency_paths WHERE workflow = 'durations-none' AND key <> 'c';

-- What no agent has measured, or what makes no sense, is not learnt from.
SELECT test.define('durations-odd', 'a');
CALL test.whole('durations-odd', 'odd', '{}');
DO $$ BEGIN FOR n IN 1..5 LOOP CALL test.whole('durations-odd', 'odd', jsonb_build_object('a', (ARRAY['-1', 'Infinity', 'NaN', '1e12', '1e-30'])[n])); END LOOP; END $$;
SELECT test.at(30), test.at(32);
SELECT key, samples, mean FROM millrace.step_durations WHERE workflow = 'durations-odd';
SELECT test.start('durations-odd', 'failed');
SELECT test.claim('x'), test.report('x', 'failed', 'a', 'fatal');
SELECT test.at(34), test.at(36);
SELECT key, samples FROM millrace.step_durations WHERE workflow = 'durations-odd';

-- A new version starts anew.
SELECT test.define('durations', 'root', 'left <- root', 'right <- root');
SELECT version, count(*) FROM millrace.step_durations WHERE workflow = 'durations' GROUP BY 1;

-- A look costs what is new, up to a bound, however much is stored: the pages of the log, and the rows of steps that completed.
CREATE FUNCTION test.pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || statement INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END $$;
INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, shard, kind)
SELECT r.run_id, r.now_at, 1, 1, 0, 11 FROM (SELECT test.run('follow') AS run_id, millrace_internal.clock() AS now_at OFFSET 0) r, generate_series(1, 300000);
CREATE FUNCTION test.place(read_pages bigint, read_events bigint) RETURNS millrace_internal.learning LANGUAGE sql AS $$
    SELECT true, timestamptz 'now', interval '1 s', from_id, blocks - read_pages, last_id - read_events, blocks, last_id, '{}'::integer[]
    FROM (SELECT millrace_internal.last_event_id() AS last_id) l, millrace_internal.log_end(last_id)
$$;
SELECT (test.place(0, 0)).end_block > 2000 AS large;
SELECT test.pages('SELECT * FROM millrace_internal.completions_of(test.place(2000, 1000000))') BETWEEN 300 AND 500 AS bounded;
SELECT cardinality(runs) AS completions FROM millrace_internal.completions_of(test.place(2000, 1000000));
SELECT cardinality(runs) AS completions, cardinality(steps) AS steps FROM millrace_internal.completions_of(test.place(20, 1000));
SELECT test.pages('SELECT millrace_internal.durations_fold(c.runs, c.steps) FROM millrace_internal.completions_of(test.place(2000, 1000000)) c') < 20000 AS bounded;
-- When nothing is new, it reads a few pages and writes nothing.
SELECT test.at(100), test.at(102), test.at(104);
BEGIN;
SELECT test.pages('SELECT millrace_internal.keep_durations(millrace_internal.clock() + interval ''1 h'')') < 50 AS bounded;
SELECT count(*) FROM millrace_internal.learning WHERE xmin = pg_current_xact_id()::xid;
COMMIT;
