-- Graphs that grow, against graphs made from scratch; and given numbers against those that a definition gets.
-- The last queries show disagreements, so they are empty.
SET search_path = millrace_internal;
SELECT setseed(0.17);

-- Graphs of up to 40 steps along a random order; a third with mixed rules. Steps and edges come in four batches.
CREATE TEMP TABLE random_graph (id int PRIMARY KEY, n int, edge_from int[], edge_to int[], batch int[], size int[], rules smallint[], expected real[]);
CREATE FUNCTION pg_temp.draw_randomly(id int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n int := 4 + floor(random() * 36);
    density float := power(random(), 2) * 0.6;
    place int[] := ARRAY(SELECT s FROM generate_series(1, n) s ORDER BY random());
    size int[] := ARRAY(SELECT greatest(1, floor(n * x)::int) FROM unnest(ARRAY[0.2 + random() * 0.3, 0.5 + random() * 0.2, CASE WHEN random() < 0.3 THEN 1 ELSE 0.7 + random() * 0.3 END, 1]) x);
    edge_from int[] := '{}';
    edge_to int[] := '{}';
    batch int[] := '{}';
    rules smallint[] := array_fill(0::smallint, ARRAY[n]);
    expected real[];
BEGIN
    FOR f IN 1..n LOOP
        FOR t IN 1..n LOOP
            IF place[f] < place[t] AND random() < density THEN
                edge_from := edge_from || f;
                edge_to := edge_to || t;
                -- with the later of its ends, or after it
                batch := batch || greatest((SELECT min(b) FROM generate_series(1, 4) b WHERE size[b] >= greatest(f, t)),
                                           CASE WHEN random() < 0.2 THEN 1 + floor(random() * 4)::int END);
            END IF;
        END LOOP;
        expected[f] := floor(random() * 100);
        IF id % 3 = 0 THEN
            rules[f] := ('{0,0,0,1,2,10}'::smallint[])[1 + floor(random() * 6)];
        END IF;
    END LOOP;
    INSERT INTO random_graph VALUES (id, n, edge_from, edge_to, batch, size, rules, expected);
END $$;
SELECT count(pg_temp.draw_randomly(id)) FROM generate_series(1, 400) id;

-- Given numbers: the same graph but for the names of its steps.
CREATE TEMP TABLE answer AS
SELECT g.id, g.n, g.expected, b.def_no AS number, b.level, b.rank, b.needs_count, b.closing, b.implied_from, b.implied_to, b.graph, o.level AS own_level, o.rank AS own_rank,
       o.needs_count AS own_needs_count, o.closing AS own_closing, o.implied_from AS own_implied_from, o.implied_to AS own_implied_to, o.graph AS own_graph
FROM random_graph g, graph_build(n, edge_from, edge_to, rules, expected, 100000) b,
     graph_build_numbered(n, edge_from, edge_to, rules, expected, CASE WHEN id % 2 = 0 THEN 100000 ELSE 0 END) o;
SELECT a.id, s FROM answer a, generate_series(1, n) s
WHERE (a.own_level[s], a.own_rank[s], a.own_needs_count[s], a.own_closing[s])
    IS DISTINCT FROM (a.level[number[s]], a.rank[number[s]], a.needs_count[number[s]], a.closing[number[s]]);
(SELECT a.id, a.number[f], a.number[t] FROM answer a, unnest(own_implied_from, own_implied_to) i (f, t))
EXCEPT (SELECT a.id, f, t FROM answer a, unnest(implied_from, implied_to) i (f, t));
SELECT id FROM answer WHERE cardinality(own_implied_from) <> cardinality(implied_from);
CREATE FUNCTION pg_temp.numbers(number int[], steps int[]) RETURNS int[] LANGUAGE sql AS
    $$ SELECT coalesce(array_agg(number[s] ORDER BY number[s]), '{}') FROM unnest(steps) s $$;
SELECT a.id, s FROM answer a, generate_series(1, n) s
WHERE pg_temp.numbers(number, graph_ancestors(own_graph, s)) <> graph_ancestors(graph, number[s])
   OR pg_temp.numbers(number, graph_descendants(own_graph, s)) <> graph_descendants(graph, number[s])
   OR pg_temp.numbers(number, graph_needs(own_graph, s)) <> graph_needs(graph, number[s])
   OR pg_temp.numbers(number, graph_dependents(own_graph, s)) <> graph_dependents(graph, number[s])
   OR pg_temp.numbers(number, graph_fall(own_graph, s)) <> graph_fall(graph, number[s]);
SELECT a.id, f, t FROM answer a, generate_series(1, n) f, generate_series(1, n) t
WHERE id <= 60 AND graph_has_path(own_graph, f, t) <> graph_has_path(graph, number[f], number[t]);
SELECT id FROM answer a
WHERE (SELECT sum(expected[s]) FROM unnest(graph_critical_path(own_graph)) s) <> (SELECT max(r) FROM unnest(rank) r)
   OR graph_ranks(own_graph, array_fill(NULL::real, ARRAY[n])) <> own_rank;

-- Growing in four batches, with paths and without: after each as from scratch, to the last byte.
CREATE FUNCTION pg_temp.grow(id int, path_bytes int) RETURNS TABLE (stage int, grown boolean, same_graph boolean, same_answer boolean, same_changes boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    g       random_graph;
    whole   record;
    before  record;
    step    record;
    froms   int[];
    tos     int[];
    first   int;
BEGIN
    SELECT r.* INTO g FROM random_graph r WHERE r.id = grow.id;
    FOR b IN 1..4 LOOP
        SELECT coalesce(array_agg(e.f), '{}') AS f, coalesce(array_agg(e.t), '{}') AS t INTO step
        FROM unnest(g.edge_from, g.edge_to, g.batch) e (f, t, batch) WHERE e.batch <= b;
        whole := graph_build_numbered(g.size[b], step.f, step.t, g.rules[1:g.size[b]], g.expected[1:g.size[b]], path_bytes);
        IF b > 1 THEN
            first := g.size[b - 1] + 1;
            SELECT coalesce(array_agg(e.f), '{}') AS f, coalesce(array_agg(e.t), '{}') AS t INTO step
            FROM unnest(g.edge_from, g.edge_to, g.batch) e (f, t, batch) WHERE e.batch = b;
            step := graph_grow(before.graph, step.f, step.t, g.rules[first:g.size[b]], g.expected[first:g.size[b]], path_bytes);
            stage := b;
            grown := g.size[b] >= first;
            same_graph := step.grown = whole.graph;
            same_answer := (step.def_no, step.level, step.rank, step.needs_count, step.closing, step.dependents_start, step.dependents, step.implied_from, step.implied_to)
                         = (whole.def_no, whole.level, whole.rank, whole.needs_count, whole.closing, whole.dependents_start, whole.dependents, whole.implied_from, whole.implied_to);
            same_changes := step.changed = ARRAY(SELECT s FROM generate_series(1, first - 1) s WHERE graph_counted(before.graph, s) <> graph_counted(whole.graph, s));
            RETURN NEXT;
        END IF;
        before := whole;
    END LOOP;
END $$;
SELECT r.id, paths, g.* FROM random_graph r, unnest(ARRAY[0, 100, 100000]) paths, pg_temp.grow(r.id, paths) g WHERE NOT same_graph OR NOT same_answer OR NOT same_changes;
SELECT count(*) FILTER (WHERE grown) > 500 AS grown, count(*) FILTER (WHERE NOT grown) > 50 AS only_edges FROM random_graph r, pg_temp.grow(r.id, 100000) g;

-- A ring names its steps, in the order in which each is needed by the next.
SELECT g.cycle, g.grown IS NULL AS refused
FROM graph_build_numbered(3, '{1,2}', '{2,3}', '{0,0,0}', '{1,1,1}', 1000) b, graph_grow(b.graph, '{3,4}', '{4,1}', '{0}', '{1}', 1000) g;
SELECT g.cycle FROM graph_build_numbered(3, '{1,2}', '{2,3}', '{0,0,0}', '{1,1,1}', 1000) b, graph_grow(b.graph, '{4}', '{4}', '{0}', '{1}', 1000) g;

-- A step that comes late may need an early one, and an early one may need it.
SELECT g.level, g.rank, g.needs_count, g.closing, g.changed, graph_ancestors(g.grown, 2) AS before_2, graph_descendants(g.grown, 4) AS behind_4
FROM graph_build_numbered(3, '{1,2}', '{2,3}', '{0,0,0}', '{1,1,1}', 1000) b, graph_grow(b.graph, '{1,4}', '{4,2}', '{0}', '{5}', 1000) g;

-- Arguments that do not fit.
SELECT graph_grow(graph, '{1}', '{}', '{0}', '{1}', 0) FROM graph_build(1, '{}', '{}', '{0}', '{1}', 0);
SELECT graph_grow(graph, '{1}', '{3}', '{0}', '{1}', 0) FROM graph_build(1, '{}', '{}', '{0}', '{1}', 0);
SELECT graph_grow(graph, '{1}', '{2}', '{0}', '{1,2}', 0) FROM graph_build(1, '{}', '{}', '{0}', '{1}', 0);
