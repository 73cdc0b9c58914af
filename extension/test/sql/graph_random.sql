-- The graph of a version against a naive oracle: random graphs, and what plain SQL says about them.
-- The last queries show disagreements, so they are empty.
SET search_path = millrace_internal;
SELECT setseed(0.42);

-- Graphs of up to 40 steps, sparse and dense; a third with mixed rules; half with paths, half too large for them.
CREATE TEMP TABLE random_graph (id int PRIMARY KEY, n int, edge_from int[], edge_to int[], rules smallint[], expected real[], path_bytes int);
CREATE FUNCTION pg_temp.draw_randomly(id int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n int := 1 + floor(random() * 40);
    density float := power(random(), 2) * 0.6;
    place int[] := ARRAY(SELECT s FROM generate_series(1, n) s ORDER BY random());
    edge_from int[] := '{}';
    edge_to int[] := '{}';
    rules smallint[] := array_fill(0::smallint, ARRAY[n]);
    expected real[];
BEGIN
    -- along a random order of the steps there is no ring; one edge in ten is given twice
    FOR f IN 1..n LOOP
        FOR t IN 1..n LOOP
            IF place[f] < place[t] AND random() < density THEN
                edge_from := edge_from || f;
                edge_to := edge_to || t;
                IF random() < 0.1 THEN
                    edge_from := f || edge_from;
                    edge_to := t || edge_to;
                END IF;
            END IF;
        END LOOP;
        expected[f] := CASE WHEN random() < 0.8 THEN floor(random() * 100) END;
        IF id % 3 = 0 THEN
            rules[f] := ('{0,0,0,1,2,10}'::smallint[])[1 + floor(random() * 6)];
        END IF;
    END LOOP;
    INSERT INTO random_graph VALUES (id, n, edge_from, edge_to, rules, expected, CASE WHEN id % 2 = 0 THEN 100000 ELSE 0 END);
END $$;
SELECT count(pg_temp.draw_randomly(id)) FROM generate_series(1, 300) id;

CREATE TEMP TABLE answer AS
SELECT g.id, g.n, b.* FROM random_graph g, graph_build(n, edge_from, edge_to, rules, expected, path_bytes) b;
CREATE TEMP TABLE step AS
SELECT a.id, o.def_no, b.level, b.rank, b.needs_count, b.closing, g.rules[o.ordinal] AS rule, coalesce(g.expected[o.ordinal], 1) AS expected
FROM answer a
JOIN random_graph g USING (id)
CROSS JOIN unnest(a.level, a.rank, a.needs_count, a.closing) WITH ORDINALITY b (level, rank, needs_count, closing, n)
JOIN unnest(a.def_no) WITH ORDINALITY o (def_no, ordinal) ON o.def_no = b.n;
CREATE TEMP TABLE edge AS
SELECT DISTINCT a.id, a.def_no[f] AS from_no, a.def_no[t] AS to_no
FROM answer a JOIN random_graph g USING (id), unnest(g.edge_from, g.edge_to) e (f, t);

CREATE INDEX ON edge (id, from_no);
CREATE INDEX ON edge (id, to_no);
ANALYZE step, edge;

-- From each step to each that it leads to.
CREATE TEMP TABLE path AS
WITH RECURSIVE walk AS (
    SELECT id, from_no, to_no FROM edge
    UNION
    SELECT w.id, w.from_no, e.to_no FROM walk w JOIN edge e ON e.id = w.id AND e.from_no = w.to_no
)
SELECT * FROM walk;
-- Paths of which the end and all inner steps have rule all_completed, of two edges or more.
CREATE TEMP TABLE implying AS
WITH RECURSIVE walk AS (
    SELECT e.id, e.from_no, e.to_no, false AS long FROM edge e JOIN step s ON s.id = e.id AND s.def_no = e.to_no AND s.rule = 0
    UNION
    SELECT w.id, w.from_no, e.to_no, true FROM walk w
    JOIN edge e ON e.id = w.id AND e.from_no = w.to_no
    JOIN step s ON s.id = e.id AND s.def_no = e.to_no AND s.rule = 0
)
SELECT id, from_no, to_no FROM walk WHERE long;
CREATE INDEX ON path (id, from_no);
CREATE INDEX ON path (id, to_no);
CREATE INDEX ON implying (id, to_no);
ANALYZE path, implying;

-- Numbers are a permutation in which needs come first.
SELECT id FROM answer WHERE ARRAY(SELECT unnest(def_no) ORDER BY 1) <> ARRAY(SELECT generate_series(1, n));
SELECT * FROM edge WHERE from_no >= to_no;

-- Level and rank.
SELECT * FROM step s WHERE level <> coalesce(
    (SELECT max(p.level) + 1 FROM edge e JOIN step p ON p.id = e.id AND p.def_no = e.from_no WHERE e.id = s.id AND e.to_no = s.def_no), 0);
SELECT * FROM step s WHERE rank <> expected + coalesce(
    (SELECT max(p.rank) FROM edge e JOIN step p ON p.id = e.id AND p.def_no = e.to_no WHERE e.id = s.id AND e.from_no = s.def_no), 0);
SELECT * FROM step s WHERE closing <> NOT EXISTS
    (SELECT FROM edge e JOIN step p ON p.id = e.id AND p.def_no = e.to_no WHERE e.id = s.id AND e.from_no = s.def_no AND p.rule < 10);

-- Edges, counted and implied.
(SELECT id, f, t FROM answer, unnest(implied_from, implied_to) i (f, t))
EXCEPT (SELECT * FROM edge INTERSECT SELECT * FROM implying);
(SELECT * FROM edge INTERSECT SELECT * FROM implying)
EXCEPT (SELECT id, f, t FROM answer, unnest(implied_from, implied_to) i (f, t));
CREATE TEMP TABLE counted AS
SELECT * FROM edge EXCEPT SELECT * FROM implying;
CREATE INDEX ON counted (id, from_no);
CREATE INDEX ON counted (id, to_no);
SELECT * FROM step s WHERE needs_count <> (SELECT count(*) FROM counted c WHERE c.id = s.id AND c.to_no = s.def_no);
SELECT s.id, s.def_no FROM step s JOIN answer a USING (id)
WHERE a.dependents[a.dependents_start[s.def_no]:a.dependents_start[s.def_no + 1] - 1]
    <> ARRAY(SELECT to_no FROM counted c WHERE c.id = s.id AND c.from_no = s.def_no ORDER BY 1);
(SELECT a.id, e.from_no, e.to_no, e.counted FROM answer a, graph_edges(a.graph) e)
EXCEPT (SELECT e.*, c IS NOT NULL FROM edge e LEFT JOIN counted c USING (id, from_no, to_no));
SELECT id FROM answer a WHERE (SELECT count(*) FROM graph_edges(graph)) <> (SELECT count(*) FROM edge e WHERE e.id = a.id);

-- Neighbours and paths.
SELECT s.id, s.def_no FROM step s JOIN answer a USING (id)
WHERE graph_needs(graph, s.def_no) <> ARRAY(SELECT from_no FROM edge e WHERE e.id = s.id AND e.to_no = s.def_no ORDER BY 1)
   OR graph_dependents(graph, s.def_no) <> ARRAY(SELECT to_no FROM edge e WHERE e.id = s.id AND e.from_no = s.def_no ORDER BY 1)
   OR graph_ancestors(graph, s.def_no) <> ARRAY(SELECT from_no FROM path p WHERE p.id = s.id AND p.to_no = s.def_no ORDER BY 1)
   OR graph_descendants(graph, s.def_no) <> ARRAY(SELECT to_no FROM path p WHERE p.id = s.id AND p.from_no = s.def_no ORDER BY 1);
SELECT a.id, f, t FROM answer a, generate_series(1, n) f, generate_series(1, n) t
WHERE id <= 60 AND graph_has_path(graph, f, t) <> EXISTS (SELECT FROM path p WHERE p.id = a.id AND p.from_no = f AND p.to_no = t);

-- The critical path is a path, and no other is longer.
CREATE TEMP TABLE critical AS
SELECT a.id, c.def_no, c.place, lead(c.def_no) OVER (PARTITION BY a.id ORDER BY c.place) AS next
FROM answer a, unnest(graph_critical_path(graph)) WITH ORDINALITY c (def_no, place);
SELECT * FROM critical c WHERE next IS NOT NULL AND NOT EXISTS (SELECT FROM edge e WHERE e.id = c.id AND e.from_no = c.def_no AND e.to_no = c.next);
SELECT id FROM critical c JOIN step s USING (id, def_no) GROUP BY id
HAVING sum(s.expected) <> (SELECT max(rank) FROM step m WHERE m.id = c.id);

-- The sample has what it is meant to have.
SELECT count(*) > 10000 AS edges, (SELECT count(*) > 1000 FROM answer, unnest(implied_from)) AS implied,
    (SELECT count(*) > 20 FROM edge e JOIN step s ON s.id = e.id AND s.def_no = e.to_no AND s.rule > 0) AS rules FROM edge;
