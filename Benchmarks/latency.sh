#!/usr/bin/env bash
# How long work waits: from the commit of a submit, and from the end of a need, to the start of the handler, at a hundred
# runs a second; and from ready to start while two thirds of the rate that the engine reaches are offered.
#
#   Benchmarks/latency.sh [--rounds N] [--seconds N] [--json]
#
#   --rounds    measurements of each kind, in turns; medians are published (default: 3)
#   --seconds   how long runs are submitted in each (default: 20)
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
rounds=3 seconds=20 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
require_program
own_server "${arguments[@]}"

recycle_log
start_measuring
for ((round = 1; round <= rounds; round++)); do
  say "a hundred runs a second, round $round of $rounds"
  measured '100 runs/s' millrace "$round" "$(bench latency --rate 100 --seconds "$seconds" --shape chain:2)"
  for shape in chain:10 single; do
    say "two thirds of the rate reached, $shape, round $round of $rounds"
    measured "two thirds of the rate, $shape" millrace "$round" \
      "$(bench latency --load --runs "$([ "$shape" = single ] && echo 50000 || echo 10000)" --seconds "$seconds" --shape "$shape")"
  done
done

sql figures --command="create view summary as
  select subject, replace(name, '_ms', '') as what, min(id) as id, count(*) as rounds,
         round(percentile_cont(0.5) within group (order by (figures->>'rate')::float8)::numeric) as runs_per_second,
         round(percentile_cont(0.5) within group (order by (f->>'p50')::float8)::numeric, 3) as p50_ms,
         round(percentile_cont(0.5) within group (order by (f->>'p90')::float8)::numeric, 3) as p90_ms,
         round(percentile_cont(0.5) within group (order by (f->>'p99')::float8)::numeric, 3) as p99_ms,
         round(percentile_cont(0.5) within group (order by (f->>'p999')::float8)::numeric, 3) as p999_ms,
         round(percentile_cont(0.5) within group (order by (f->>'max')::float8)::numeric, 3) as max_ms
  from measurement, lateral (values ('submit_to_start_ms'), ('due_to_start_ms'), ('need_to_start_ms'), ('ready_to_start_ms')) as names (name),
       lateral (select figures->name) as found (f)
  where f is not null group by subject, name"
published latency 'select * from summary order by id, what'
judge_all "
  select format('%s, %s p50', subject, what), p50_ms, 'at-most', 0.7, 'ms' from summary
    where subject = '100 runs/s' and what in ('submit_to_start', 'need_to_start')
  union all
  select format('%s, %s p99', subject, what), p99_ms, 'at-most', 2, 'ms' from summary
    where subject = '100 runs/s' and what in ('submit_to_start', 'need_to_start')
  union all
  select format('%s, %s p99', subject, what), p99_ms, 'at-most', 10, 'ms' from summary
    where subject <> '100 runs/s' and what = 'ready_to_start'"
