-- What a version means for its author: order, earliest starts, slack, critical path.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql

SELECT test.define('explained', 'a {"expected": 2}', 'b <- a {"expected": 10}', 'c <- a {"expected": 1}', 'd <- b c {"expected": 1}', 'e <- c {"rule": "all_done", "expected": 3}', 'alone {"expected": 4}');
SELECT key, level, earliest, seconds, slack, critical, measured, needs, ancestors, descendants, falls FROM millrace.explain_workflow('explained');
SELECT array_agg(key) FILTER (WHERE critical) AS critical_path, max(earliest + seconds) AS longest, sum(seconds) AS work FROM millrace.explain_workflow('explained', 1);

-- The latest version is the default; an earlier one is still there.
SELECT test.define('explained', 'a {"expected": 2}');
SELECT count(*) FROM millrace.explain_workflow('explained');
SELECT count(*) FROM millrace.explain_workflow('explained', version => 1);

-- What has been measured counts instead of what was expected.
INSERT INTO millrace_internal.duration (version_id, def_no, samples, seconds, deviation)
SELECT version_id, step_no, 1, 20, 0 FROM millrace.dependency_paths JOIN millrace.workflows USING (workflow, version) WHERE workflow = 'explained' AND version = 1 AND key = 'c';
SELECT key, earliest, seconds, slack, critical, measured FROM millrace.explain_workflow('explained', 1) WHERE key IN ('a', 'c', 'e', 'alone');

-- It agrees with the paths: a step without slack starts when the longest path reaches it.
SELECT test.define('explained-random', VARIADIC ARRAY(
    SELECT format('s%s%s {"expected": %s}', n, CASE WHEN n > 5 THEN ' <- s' || (n * 7 % (n - 1) + 1) || ' s' || (n * 3 % (n - 1) + 1) ELSE '' END, n % 9 + 1) FROM generate_series(1, 200) n));
SELECT count(*) AS steps, bool_and(earliest = coalesce((SELECT max(n.earliest + n.seconds) FROM millrace.explain_workflow('explained-random') n WHERE n.key = ANY (e.needs)), 0)) AS starts,
       bool_and(NOT critical OR slack = 0) AS tight, bool_and(e.ancestors = cardinality(p.ancestors) AND e.descendants = cardinality(p.descendants)) AS paths
FROM millrace.explain_workflow('explained-random') e JOIN millrace.dependency_paths p USING (key) WHERE p.workflow = 'explained-random';

SELECT * FROM test.fails($$SELECT * FROM millrace.explain_workflow('no such')$$);
SELECT * FROM test.fails($$SELECT * FROM millrace.explain_workflow('explained', 3)$$);
