#!/usr/bin/env bash
# Replays recorded workflows (WfFormat): critical path first beside first come, first served, each against what no
# schedule can beat, and against a list schedule of the same order in which handing out costs nothing. Each step must run
# once, none before its needs.
#
#   Benchmarks/replay.sh [--workers "N…"] [--seconds N] [--rounds N] [--learn] [--json] DIRECTORY|FILE…
#
#   --workers   steps in execution at once (default: "8 16 64")
#   --seconds   how long a replay takes at best; recorded times are scaled to it (default: 10)
#   --rounds    replays of each kind, the orders in turns; medians are published (default: 1)
#   --learn     also a run that was told no durations, after a first one to learn them from
#
# Workflows without recorded times run as fast as they can, once for each number of workers.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
workers="8 16 64" seconds=10 rounds=1 json=false learn=false files=()
while [ $# -gt 0 ]; do
  case $1 in
    --workers) workers=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
    --rounds) rounds=${2:?}; shift 2 ;;
    --learn) learn=true; shift ;;
    --json) json=true; shift ;;
    -*) usage ;;
    *) files+=("$1"); shift ;;
  esac
done
[ ${#files[@]} -gt 0 ] || usage
require_program
own_server "${arguments[@]}"

recordings() {
  local file
  for file in "${files[@]}"; do
    if [ -d "$file" ]; then find "$file" -maxdepth 1 \( -name '*.json' -o -name '*.json.gz' \); else echo "$file"; fi
  done
}

# replay FILE WORKERS SIDE ROUND [OPTION…]
replay() {
  local figures
  figures=$("$millrace" bench replay --database "$(database_url replay)" --workers "$2" --seconds "$seconds" --json "${@:5}" "$1" 2>"$log") || {
    cat "$log" >&2
    [ -n "$figures" ] || die "$(basename "$1") cannot be replayed"
    say "$(basename "$1"): a step ran twice, or before its needs"
  }
  measured "$(basename "$1")" "$3" "$4" "$figures"
}

start_measuring
new_database replay
log=$(mktemp)
trap 'rm -f "$log"' EXIT
while read -r file; do
  "$millrace" graph "$file" --format wfformat --json >/dev/null 2>&1 || continue   # no recording
  for count in $workers; do
    say "$(basename "$file"), $count workers"
    for ((round = 1; round <= rounds; round++)); do
      replay "$file" "$count" critical "$round" --order critical-path
      replay "$file" "$count" first "$round" --order first-come
      [ "$learn" = false ] || replay "$file" "$count" learnt "$round" --learn
    done
  done
done < <(recordings | sort)

sql figures --command="create view summary as
  select subject as recording, workers, max(steps) as steps, max(depth) as depth, round(max(shortest)::numeric, 1) as shortest_step_ms,
         round(percentile_cont(0.5) within group (order by bound) filter (where side = 'first')::numeric, 3) as first_come,
         round(percentile_cont(0.5) within group (order by bound) filter (where side = 'critical')::numeric, 3) as critical_path,
         round(percentile_cont(0.5) within group (order by bound) filter (where side = 'learnt')::numeric, 3) as learnt,
         round(max(ideal) filter (where side = 'first')::numeric, 3) as first_come_schedule,
         round(max(ideal) filter (where side = 'critical')::numeric, 3) as critical_path_schedule,
         round(100 * (percentile_cont(0.5) within group (order by schedule) filter (where side = 'critical') - 1)::numeric, 2) as overhead_percent,
         round(percentile_cont(0.5) within group (order by makespan) filter (where side = 'critical')::numeric, 3) as seconds,
         bool_and(ok) as correct
  from (select m.id, m.subject, m.side, (m.figures->>'workers')::int as workers, (m.figures->>'steps')::int as steps, (m.figures->>'depth')::int as depth,
               (m.figures->>'shortest_step_ms')::float8 as shortest, (m.figures->>'makespan_seconds')::float8 as makespan,
               (m.figures->>'makespan_to_lower_bound')::float8 as bound, (m.figures->>'schedule_to_lower_bound')::float8 as ideal,
               (m.figures->>'makespan_to_schedule')::float8 as schedule, (m.figures->>'ok')::boolean as ok
        from measurement m) as replays
  group by subject, workers"
published replay 'select * from summary order by recording, workers'
judge_all "
  select format('%s, %s workers, over the schedule', recording, workers), overhead_percent, 'at-most', 2, '%'
  from summary where overhead_percent is not null order by recording, workers"
judge_all "select 'recordings in which a step ran twice, or early', count(*) filter (where not correct), 'at-most', 0, '' from summary"
judge_all "
  select format('%s, %s workers, critical path ÷ first come', recording, workers), round(critical_path / first_come, 3), 'at-most', 1.02, ''
  from summary where first_come is not null order by recording, workers"
