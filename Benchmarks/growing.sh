#!/usr/bin/env bash
# What a growth costs, by the size of the run: a run of N steps gets 1 step behind its last, then 100 steps, ten times each.
#
#   Benchmarks/growing.sh [STEPS…]        default: 10 100 1000 10000 50000
#
# Median milliseconds of a call, and what computing the graph anew would take alone, beside extending it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=Benchmarks/lib.sh
source Benchmarks/lib.sh
[ -n "${MILLRACE_GROWING_SERVER:-}" ] || exec env MILLRACE_GROWING_SERVER=1 scripts/with-cluster.sh --tier plain -- "$0" "$@"
[ $# -gt 0 ] || set -- 10 100 1000 10000 50000

printf '%10s %14s %14s %14s %14s\n' steps '1_step_ms' '100_steps_ms' extend_ms scratch_ms
for steps in "$@"; do
  psql -XqAt -v ON_ERROR_STOP=1 -v steps="$steps" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS millrace;
CREATE TEMP TABLE measured (what text, ms double precision);
-- chains of up to 100 steps, side by side, and one step that needs them all
SELECT FROM millrace.define_workflow(jsonb_build_object('workflow', 'grow-' || :steps, 'defaults', '{"handler": "noop"}'::jsonb, 'steps',
    (SELECT jsonb_agg(CASE WHEN n % 100 = 1 THEN jsonb_build_object('key', 's' || n) ELSE jsonb_build_object('key', 's' || n, 'needs', jsonb_build_array('s' || n - 1)) END)
     FROM generate_series(1, :steps - 1) n)
    || jsonb_build_object('key', 'last', 'needs', (SELECT jsonb_agg('s' || n) FROM generate_series(1, :steps - 1) n WHERE n % 100 = 0 OR n = :steps - 1))));
SELECT millrace.submit('grow-' || :steps) AS run \gset
CREATE FUNCTION pg_temp.grow(run bigint, added integer, round integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    PERFORM FROM millrace.add_steps(run, jsonb_build_object('steps',
        (SELECT jsonb_agg(jsonb_build_object('key', format('n%s-%s-%s', added, round, n), 'needs', '["s2"]'::jsonb)) FROM generate_series(1, added) n),
        'edges', jsonb_build_object('last', jsonb_build_array(format('n%s-%s-1', added, round)))));
    INSERT INTO measured VALUES (added, extract(epoch FROM clock_timestamp() - began) * 1000);
END $$;
CREATE FUNCTION pg_temp.graphs(run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    g     bytea;
    n     integer;
    froms integer[];
    tos   integer[];
    began timestamptz;
BEGIN
    SELECT v.graph, v.steps INTO g, n FROM millrace_internal.version v JOIN millrace.runs r USING (version_id) WHERE r.run_id = run;
    SELECT array_agg(e.from_no), array_agg(e.to_no) INTO froms, tos FROM millrace_internal.graph_edges(g) e;
    began := clock_timestamp();
    PERFORM millrace_internal.graph_grow(g, ARRAY[2], ARRAY[n + 1], '{0}', '{1}', 16777216);
    INSERT INTO measured VALUES ('extend', extract(epoch FROM clock_timestamp() - began) * 1000);
    began := clock_timestamp();
    PERFORM millrace_internal.graph_build_numbered(n + 1, froms || 2, tos || n + 1, array_fill(0::smallint, ARRAY[n + 1]), array_fill(1::real, ARRAY[n + 1]), 16777216);
    INSERT INTO measured VALUES ('scratch', extract(epoch FROM clock_timestamp() - began) * 1000);
END $$;
SELECT FROM generate_series(1, 10) n, pg_temp.grow(:run, 1, n);
SELECT FROM generate_series(1, 10) n, pg_temp.grow(:run, 100, n);
SELECT FROM generate_series(1, 10) n, pg_temp.graphs(:run);
SELECT format('%10s %14s %14s %14s %14s', :steps, max(ms) FILTER (WHERE what = '1'), max(ms) FILTER (WHERE what = '100'),
              max(ms) FILTER (WHERE what = 'extend'), max(ms) FILTER (WHERE what = 'scratch'))
FROM (SELECT what, round(percentile_disc(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS ms FROM measured GROUP BY what) m;
SQL
done
