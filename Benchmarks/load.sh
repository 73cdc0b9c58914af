#!/usr/bin/env bash
# Loads as they come in life: many short chains at once, workflows of every size together, many runs over few connections,
# a spike, and a steady load for half an hour.
#
#   Benchmarks/load.sh [--rounds N] [--minutes N] [--speed-up N] [--json]
#
#   --rounds     measurements of the chains; the median is published (default: 5)
#   --minutes    of the steady load (default: 30)
#   --speed-up   how many times the rates of the mixed load (default: 500)
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
rounds=5 minutes=30 speed_up=500 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift 2 ;;
    --minutes) minutes=${2:?}; shift 2 ;;
    --speed-up) speed_up=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
require_program
# 300 idle connections beside the busy ones
more_settings=(max_connections=400)
own_server "${arguments[@]}"

start_measuring
for ((round = 1; round <= rounds; round++)); do
  say "100 chains of ten steps that take 20 ms, on 4 agents of 25 slots, round $round of $rounds"
  measured 'chains' millrace "$round" \
    "$(bench throughput --shape chain:10 --runs 100 --step-duration 20 --agents 4 --concurrency 25)"
done

# load NAME SUBJECT ARGUMENT…
load() {
  local figures
  say "$2"
  figures=$(bench "$1" "${@:3}")
  measured "$1" millrace 1 "$figures"
}
load mixed "four classes of workflows at once, $speed_up times their rates" --speed-up "$speed_up"
load stress "50 runs over 5 connections, beside 300 idle ones" --runs 50 --connections 5 --idle 300
load spike "ten times the rate for ten seconds"
load soak "a steady load for $minutes minutes" --minutes "$minutes"

published load "
  select m.subject as load, f.name as figure, case when jsonb_typeof(f.value) = 'number' then round(f.value::numeric, 3)::text else f.value #>> '{}' end as value
  from measurement m, lateral (
    select 'makespan_ms' as name, m.figures->'makespan_ms' as value where m.subject = 'chains'
    union all
    select v->>'name' || ', ' || (v->>'unit'), v->'measured' from jsonb_array_elements(m.figures->'verdicts') v) f
  order by m.id"
judge_all "
  select 'makespan of 100 chains', round(percentile_cont(0.5) within group (order by (figures->>'makespan_ms')::float8)::numeric, 1), 'at-most', 220, 'ms'
  from measurement where subject = 'chains'"
for name in mixed stress spike soak; do
  judge_bench "$name" "$(sql figures --command="select figures from measurement where subject = '$name'")"
done
