#!/usr/bin/env bash
# What lies about must not matter: the engine's cost with millions of finished steps stored, with a million ready steps
# waiting, and with a million steps sleeping, beside that of a database without them on the same server.
#
# Without them is not quite empty: every side begins with a million finished steps, so that its indexes have the depth that
# they have in a partition in use: in the first third of a partition's life some have one level less.
#
#   Benchmarks/ballast.sh [--finished N] [--waiting N] [--sleeping N] [--begun N] [--pairs N] [--steps N] [--json]
#
#   --finished   finished steps that are stored besides (default: 10000000)
#   --waiting    ready steps that wait, in a queue of their own (default: 1000000)
#   --sleeping   steps that wait for a time that is far off, each in a run of its own (default: 1000000)
#   --begun      finished steps that every side begins with (default: 1000000)
#   --pairs      pairs of measurements, with and without, in turns (default: 5)
#   --steps      steps of one measurement, in chains of ten (default: 100000)
#
# Fails where log bytes, row writes or buffer hits a step differ by more than 2 %, where the rate is below 0.95, or where
# a claim of 100 takes more than 1.1 of its time (medians of the pairs).
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
finished=10000000 waiting=1000000 sleeping=1000000 begun=1000000 pairs=5 steps=100000 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --finished) finished=${2:?}; shift 2 ;;
    --waiting) waiting=${2:?}; shift 2 ;;
    --sleeping) sleeping=${2:?}; shift 2 ;;
    --begun) begun=${2:?}; shift 2 ;;
    --pairs) pairs=${2:?}; shift 2 ;;
    --steps) steps=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
require_program
more_settings=(max_worker_processes=16)   # two for each database
own_server "${arguments[@]}"

# A claim's steps are of a workflow of one step, in a queue that no agent of the throughput serves; there are always more
# of them than the claims take.
claims=50
load() {
  new_database "$1"
  sql "$1" --output=/dev/null --file=Benchmarks/ballast/load.sql --set=finished=$((begun + $2)) --set=waiting="$3" --set=sleeping="$4"
  sql "$1" --command='vacuum (freeze, analyze)'
  await_filled "$1"
}
# The keeper has done what a change of so many rows asks of it.
await_filled() {
  until [ "$(sql "$1" --command="select state = 'warm' and not exists (select from millrace_internal.dispatcher_stats() where low)
                                        from millrace.dispatcher")" = t ]; do sleep 0.1; done
}

# measure SIDE PAIR BALLAST: of a pair
measure() {
  local figures claim
  say "$3, pair $2 of $pairs: $1"
  sql postgres --command=checkpoint
  figures=$("$millrace" bench throughput --database "$(database_url "$1")" --shape chain:10 --runs $((steps / 10)) \
    --handler noop --json)
  claim=$(sql "$1" --set=claims="$claims" --file=Benchmarks/ballast/claims.sql)
  await_filled "$1"
  measured "$3" "$1" "$2" "$(sql figures --set=a="$figures" --set=b="$claim" <<<"select :'a'::jsonb || :'b'")"
}

start_measuring
say "$finished finished steps, $waiting ready ones, $sleeping sleeping ones"
spare=$((100 * claims * 2))
load empty 0 "$spare" 0
load finished "$finished" "$spare" 0
load waiting 0 "$waiting" 0
load sleeping 0 "$spare" "$sleeping"
for ballast in finished waiting sleeping; do
  for ((pair = 1; pair <= pairs; pair++)); do
    sides=("$ballast" empty)
    [ $((pair % 2)) -eq 1 ] || sides=(empty "$ballast")
    for side in "${sides[@]}"; do measure "$side" "$pair" "$ballast"; done
  done
done

results="
  select subject as ballast, count(*) as pairs,
         round(percentile_cont(0.5) within group (order by rate)::numeric, 3) as rate,
         round(min(rate)::numeric, 3) as lowest, round(max(rate)::numeric, 3) as highest,
         round(percentile_cont(0.5) within group (order by log)::numeric, 4) as log_bytes,
         round(percentile_cont(0.5) within group (order by writes)::numeric, 4) as row_writes,
         round(percentile_cont(0.5) within group (order by hits)::numeric, 4) as buffer_hits,
         round(percentile_cont(0.5) within group (order by claim)::numeric, 3) as claim_of_100,
         round(percentile_cont(0.5) within group (order by claim_ms)::numeric, 3) as claim_of_100_ms
  from (select b.subject,
               (b.figures->>'steps_per_second')::float8 / (e.figures->>'steps_per_second')::float8 as rate,
               ((b.figures->>'wal_bytes_per_step')::float8 - (b.figures->>'full_page_bytes_per_step')::float8)
                 / ((e.figures->>'wal_bytes_per_step')::float8 - (e.figures->>'full_page_bytes_per_step')::float8) as log,
               (b.figures->>'writes_per_step')::float8 / (e.figures->>'writes_per_step')::float8 as writes,
               (b.figures->>'buffer_hits_per_step')::float8 / (e.figures->>'buffer_hits_per_step')::float8 as hits,
               (b.figures->>'claim_ms')::float8 / (e.figures->>'claim_ms')::float8 as claim,
               (b.figures->>'claim_ms')::float8 as claim_ms
        from measurement b join measurement e using (subject, pair) where b.side = b.subject and e.side = 'empty') as paired
  group by subject order by subject"
published ballast "$results"
judge_all "
  select format('beside %s steps, %s', ballast, w.what), w.measured, w.how, w.bound, '' from ($results) as r, lateral (values
    ('rate', rate, 'at-least', 0.95), ('log bytes', log_bytes, 'at-most', 1.02), ('row writes', row_writes, 'at-most', 1.02),
    ('buffer hits', buffer_hits, 'at-most', 1.02), ('a claim of 100', claim_of_100, 'at-most', 1.1)) as w (what, measured, how, bound)"
[ "$missed" -eq 0 ]
