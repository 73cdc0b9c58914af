-- The graph of a version: numbering, implied edges, paths, settling and reviving, on graphs drawn by hand.
SET search_path = millrace_internal;
\set SHOW_CONTEXT never
\pset null '~'

-- A graph that is kept, of n steps with the same rule, or the given ones.
CREATE TEMP TABLE drawn (name text PRIMARY KEY, graph bytea NOT NULL);
CREATE FUNCTION pg_temp.draw(name text, n int, edge_from int[], edge_to int[], rules smallint[] DEFAULT NULL,
    path_bytes int DEFAULT 100000) RETURNS void LANGUAGE sql AS $$
    INSERT INTO drawn SELECT draw.name, b.graph
    FROM millrace_internal.graph_build(n, edge_from, edge_to, coalesce(rules, array_fill(0::smallint, ARRAY[n])),
        array_fill(1::real, ARRAY[n]), path_bytes) b
$$;
CREATE FUNCTION pg_temp.drawing(name text) RETURNS bytea STABLE LANGUAGE sql AS
    'SELECT graph FROM drawn WHERE drawn.name = $1';

-- A diamond: 4 needs 2 and 3, which need 1; 4 also names 1, which is implied, and 2 twice.
SELECT def_no, level, rank, needs_count, closing, dependents_start, dependents, implied_from, implied_to, cycle
FROM graph_build(4, '{1,1,2,3,1,2}', '{2,3,4,4,4,4}', '{0,0,0,0}', '{1,2,NULL,4}', 100000);

-- One step, no edges; steps in file order that need later ones.
SELECT def_no, level, rank, needs_count, closing, dependents_start, dependents, implied_from, cycle
FROM graph_build(1, '{}', '{}', '{0}', '{NULL}', 0);
SELECT def_no, level, dependents_start, dependents FROM graph_build(3, '{3,2}', '{2,1}', '{0,0,0}', '{1,1,1}', 0);

-- Three interleaved chains of four get contiguous numbers.
SELECT def_no FROM graph_build(12, '{1,2,3,4,5,6,7,8,9}', '{4,5,6,7,8,9,10,11,12}',
    array_fill(0::smallint, '{12}'), array_fill(1::real, '{12}'), 0);

-- An edge is implied only if its end and all inner steps of the longer path use all_completed.
SELECT rules, implied_from, implied_to
FROM (VALUES ('{0,0,0}'::smallint[]), ('{1,0,0}'), ('{0,1,0}'), ('{0,0,1}'), ('{0,10,0}')) r (rules),
    graph_build(3, '{1,2,1}', '{2,3,3}', rules, '{1,1,1}', 0);

-- Closing: no dependents, or only such as may be decided before it.
SELECT closing FROM graph_build(4, '{1,2,2,3}', '{2,3,4,4}', '{0,0,10,10}', '{1,1,1,1}', 0);

-- Rings are reported by ordinal, each step needed by the next; only steps in the ring.
SELECT cycle, def_no, graph FROM graph_build(6, '{1,4,2,3,3,5}', '{2,2,3,4,5,6}', array_fill(0::smallint, '{6}'),
    array_fill(1::real, '{6}'), 0);
SELECT cycle FROM graph_build(2, '{2}', '{2}', '{0,0}', '{1,1}', 0);

-- Questions, answered from bitmaps and by a sweep.
SELECT pg_temp.draw('bitmaps', 7, '{1,2,1,3,5,1}', '{2,4,3,4,6,4}');
SELECT pg_temp.draw('sweep', 7, '{1,2,1,3,5,1}', '{2,4,3,4,6,4}', NULL, 1);
SELECT name, d AS def_no, graph_ancestors(graph, d) AS ancestors, graph_descendants(graph, d) AS descendants,
    graph_needs(graph, d) AS needs, graph_dependents(graph, d) AS dependents
FROM drawn, generate_series(1, 7) d ORDER BY name, d;
SELECT name, graph_has_path(graph, 1, 4), graph_has_path(graph, 4, 1), graph_has_path(graph, 1, 5), graph_has_path(graph, 1, 1)
FROM drawn ORDER BY name;
SELECT e.* FROM graph_edges(pg_temp.drawing('sweep')) e;

-- Beyond one block of edges and beyond one container of a bitmap: every pair of 1,200 steps, and a chain of 70,000.
SELECT cardinality(implied_from) AS implied, dependents = ARRAY(SELECT generate_series(2, 1200)) AS chain_is_left
FROM (SELECT array_agg(f) AS edge_from, array_agg(t) AS edge_to FROM generate_series(1, 1200) f, generate_series(1, 1200) t WHERE f < t) e,
    graph_build(1200, edge_from, edge_to, array_fill(0::smallint, '{1200}'), array_fill(1::real, '{1200}'), 100000);
SELECT pg_temp.draw('chain', 70000, ARRAY(SELECT generate_series(1, 69999)), ARRAY(SELECT generate_series(2, 70000)), NULL, 10000000);
SELECT graph_ancestors(graph, 70000) = ARRAY(SELECT generate_series(1, 69999)) AS ancestors,
    graph_descendants(graph, 2) = ARRAY(SELECT generate_series(3, 70000)) AS descendants,
    graph_has_path(graph, 1, 70000) AS path, length(graph) < 7000000 AS small
FROM drawn WHERE name = 'chain';

-- The critical path, under what is expected and under other weights.
SELECT graph_critical_path(pg_temp.drawing('sweep')), graph_critical_path(pg_temp.drawing('sweep'), '{1,1,5,1,1,1,1}'),
    graph_critical_path(pg_temp.drawing('sweep'), '{0,0,0,0,0,0,9}'), graph_critical_path(pg_temp.drawing('sweep'), '{NULL,NULL,NULL,NULL,3,NULL,NULL}'),
    graph_critical_path(NULL);

-- Settling in a join: 4 needs 1, 2 and 3; 5 needs 4; 6 needs 5 and is decided when all is done.
SELECT pg_temp.draw('join', 6, '{1,2,3,4,5}', '{4,4,4,5,6}', '{0,0,0,0,0,1}');
SELECT 'one of three' AS settled, s.* FROM graph_settle(pg_temp.drawing('join'), '{1}', '{t}', '{}', '{}', '{}') s
UNION ALL
SELECT 'the last two', s.* FROM graph_settle(pg_temp.drawing('join'), '{3,2}', '{t,t}', '{4}', '{2}', '{0}') s
UNION ALL
SELECT 'all at once, one bad', s.* FROM graph_settle(pg_temp.drawing('join'), '{3,2,1}', '{t,f,t}', '{}', '{}', '{}') s
UNION ALL
SELECT 'the last, after a bad one', s.* FROM graph_settle(pg_temp.drawing('join'), '{2}', '{t}', '{4}', '{1}', '{1}') s
UNION ALL
SELECT 'everything cancelled', s.* FROM graph_settle(pg_temp.drawing('join'), '{1,2,3,4,5,6}', '{f,f,f,f,f,f}', '{}', '{}', '{}') s
UNION ALL
SELECT 'decided already', s.* FROM graph_settle(pg_temp.drawing('join'), '{5}', '{t}', '{6}', '{0}', '{0}') s
UNION ALL
SELECT 'nothing', s.* FROM graph_settle(pg_temp.drawing('join'), '{}', '{}', '{}', '{}', '{}') s;

-- Reviving 2, which failed: 4 and 5 were skipped with it; 6 ran and stays.
SELECT 'skipped steps wait again' AS revived, r.*
FROM graph_revive(pg_temp.drawing('join'), '{2}', '{1,2,3,4,5,6}', '{t,f,t,f,f,t}', '{2}') r
UNION ALL
SELECT '6 failed by itself and stays', r.*
FROM graph_revive(pg_temp.drawing('join'), '{2}', '{1,2,3,4,5,6}', '{t,f,t,f,f,f}', '{2,6}') r
UNION ALL
SELECT '6 is retried too, and waits', r.*
FROM graph_revive(pg_temp.drawing('join'), '{2,6}', '{1,2,3,4,5,6}', '{t,f,t,f,f,f}', '{2,6}') r
UNION ALL
SELECT '4 is pending still, 3 is running', r.*
FROM graph_revive(pg_temp.drawing('join'), '{2}', '{1,2}', '{t,f}', '{2}') r
UNION ALL
SELECT '1 failed too and is not retried', r.*
FROM graph_revive(pg_temp.drawing('join'), '{2}', '{1,2,3,4,5,6}', '{f,f,t,f,f,t}', '{1,2}') r;

-- What is wrong is named.
SELECT graph_build(0, '{}', '{}', '{}', '{}', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT graph_build(1000001, '{}', '{}', '{}', '{}', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT graph_build(2, '{1}', '{3}', '{0,0}', '{1,1}', 0);
SELECT graph_build(2, '{1,1}', '{2}', '{0,0}', '{1,1}', 0);
SELECT graph_build(2, '{1}', '{NULL}', '{0,0}', '{1,1}', 0);
SELECT graph_build(2, '{{1}}', '{2}', '{0,0}', '{1,1}', 0);
SELECT graph_build(2, '{1}', '{2}', '{0}', '{1,1}', 0);
SELECT graph_build(2, '{1}', '{2}', '{0,0}', '{1}', 0);
SELECT graph_build(2, '{1}', '{2}', '{0,0}', '{1,-1}', 0);
SELECT graph_build(2, '{1}', '{2}', '{0,0}', '{1,NaN}', 0);
SELECT graph_ancestors(pg_temp.drawing('join'), 0);
SELECT graph_has_path(pg_temp.drawing('join'), 1, 7);
SELECT graph_critical_path(pg_temp.drawing('join'), '{1}');
SELECT * FROM graph_settle(pg_temp.drawing('join'), '{1,1}', '{t,t}', '{}', '{}', '{}');
SELECT * FROM graph_settle(pg_temp.drawing('join'), '{1}', '{}', '{}', '{}', '{}');
SELECT * FROM graph_settle(pg_temp.drawing('join'), '{1}', '{t}', '{4}', '{-1}', '{0}');
SELECT * FROM graph_settle(pg_temp.drawing('join'), '{1}', '{t}', '{4,4}', '{1,1}', '{0,0}');
SELECT * FROM graph_revive(pg_temp.drawing('join'), '{2}', '{1}', '{t}');
SELECT * FROM graph_revive(pg_temp.drawing('join'), '{2}', '{1,2}', '{t,f}', '{1}');
SELECT graph_needs('', 1);
SELECT graph_needs('no graph at all, though long enough', 1);
SELECT pg_temp.draw('damaged', 3, '{1,2}', '{2,3}');
SELECT graph_needs(set_byte(pg_temp.drawing('damaged'), 40, 99), 1);
SELECT graph_needs(substr(pg_temp.drawing('damaged'), 1, 100), 1);

-- Hints for misspelt words.
SELECT word, nearest(word, '{needs,handler,with,input,when,rule,retry,NULL,Schlüssel}')
FROM unnest('{neds,handelr,wiht,inputs,rtery,schlussel,colour,w,"",needs}'::text[]) word;
SELECT nearest('needs', '{}'), nearest(repeat('x', 300), ARRAY[repeat('x', 300)]);
