#!/usr/bin/env bash
# How many steps a second pass through the engine, as a ratio to plain PL/pgSQL of the same shape on the same server.
#
#   Benchmarks/throughput.sh [--pairs N] [--steps N] [--json] [SHAPE…]
#
#   SHAPE     single, chain:N or diamond:N (default: chain:10 diamond:8 single)
#   --pairs   pairs of measurements, engine and floor in turns (default: 5)
#   --steps   steps of one measurement (default: 50000)
#
# Right after each measurement the server is stopped as in a power cut; of what the engine had acknowledged nothing may
# be missing when it is back.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
pairs=5 steps=50000 json=false shapes=()
while [ $# -gt 0 ]; do
  case $1 in
    --pairs) pairs=${2:?}; shift 2 ;;
    --steps) steps=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    -*) usage ;;
    *) shapes+=("$1"); shift ;;
  esac
done
[ ${#shapes[@]} -gt 0 ] || shapes=(chain:10 diamond:8 single)
require_program
own_server "${arguments[@]}"

run_millrace() {
  "$millrace" bench throughput --database "$(database_url millrace)" --shape "$1" \
    --runs $((steps / $(steps_per_run "$1"))) --handler noop --json
}
run_floor() { Benchmarks/floor.sh --shape "$1" --steps "$steps" --json; }

# kept_millrace FIGURES: whether all runs and steps that were acknowledged are there, in the tables and in the log.
kept_millrace() {
  sql millrace --set=figures="$1" <<'SQL'
select (select count(*) from millrace.runs where run_id between first_run_id and last_run_id and state = 'completed') = runs
   and (select count(*) from millrace.runs, millrace.steps s
        where runs.run_id between first_run_id and last_run_id and s.run_id = runs.run_id and s.state = 'completed') = steps
   and (select count(*) from millrace.events
        where run_id between first_run_id and last_run_id and kind = 'step_completed') = steps
   and (select count(*) from millrace.events
        where run_id between first_run_id and last_run_id and kind = 'run_completed') = runs
from json_to_record(:'figures') as f (first_run_id bigint, last_run_id bigint, runs bigint, steps bigint)
SQL
}
kept_floor() { sql floor --set=figures="$1" <<<"select count(*) = (:'figures'::json->>'steps')::int from floor.step where state = 3"; }

# measure SHAPE PAIR SIDE: each begins on a server that has just started, with nothing left to write for the other
measure() {
  local figures
  say "$1, pair $2 of $pairs: $3"
  sql postgres --command=checkpoint
  figures=$("run_$3" "$1")
  crash_server
  [ "$("kept_$3" "$figures")" = t ] || die "$3 has lost what it had acknowledged" "$figures"
  measured "$1" "$3" "$2" "$figures"
}

start_measuring
new_database millrace
crash_server
for shape in "${shapes[@]}"; do
  for ((pair = 1; pair <= pairs; pair++)); do
    sides=(millrace floor)
    [ $((pair % 2)) -eq 1 ] || sides=(floor millrace)
    for side in "${sides[@]}"; do measure "$shape" "$pair" "$side"; done
  done
done

sql figures --command="create view summary as
  select shape, min(id) as id, count(*) as pairs,
         round(percentile_cont(0.5) within group (order by ratio)::numeric, 2) as ratio,
         round(min(ratio)::numeric, 2) as lowest, round(max(ratio)::numeric, 2) as highest,
         round(percentile_cont(0.5) within group (order by steps_per_second)::numeric) as steps_per_second,
         round(percentile_cont(0.5) within group (order by floor_steps_per_second)::numeric) as floor_steps_per_second,
         round(percentile_cont(0.5) within group (order by writes)::numeric, 1) as writes_per_step,
         round(percentile_cont(0.5) within group (order by floor_writes)::numeric, 1) as floor_writes_per_step,
         round(percentile_cont(0.5) within group (order by log)::numeric) as log_bytes_per_step,
         round(percentile_cont(0.5) within group (order by floor_log)::numeric) as floor_log_bytes_per_step,
         round(percentile_cont(0.5) within group (order by pages)::numeric) as full_page_bytes_per_step,
         round(percentile_cont(0.5) within group (order by dead)::numeric, 1) as dead_rows_per_step,
         round(percentile_cont(0.5) within group (order by hot)::numeric, 2) as hot_share,
         round(percentile_cont(0.5) within group (order by server_cpu)::numeric, 1) as server_cpu_us_per_step,
         round(percentile_cont(0.5) within group (order by agent_cpu)::numeric, 1) as agent_cpu_us_per_step
  from (select m.subject as shape, m.id,
               (m.figures->>'steps_per_second')::float8 / (f.figures->>'steps_per_second')::float8 as ratio,
               (m.figures->>'steps_per_second')::float8 as steps_per_second,
               (f.figures->>'steps_per_second')::float8 as floor_steps_per_second,
               (m.figures->>'writes_per_step')::float8 as writes, (f.figures->>'writes_per_step')::float8 as floor_writes,
               (m.figures->>'wal_bytes_per_step')::float8 as log, (f.figures->>'wal_bytes_per_step')::float8 as floor_log,
               (m.figures->>'full_page_bytes_per_step')::float8 as pages,
               (m.figures->>'dead_rows_per_step')::float8 as dead, (m.figures->>'hot_share')::float8 as hot,
               (m.figures->>'server_cpu_us_per_step')::float8 as server_cpu,
               (m.figures->>'agent_cpu_us_per_step')::float8 as agent_cpu
        from measurement m join measurement f using (subject, pair)
        where m.side = 'millrace' and f.side = 'floor') as paired
  group by shape"
published throughput 'select * from summary order by id'
judge_all "
  select w.what, w.measured, w.how, w.bound, w.unit
  from summary s, lateral (values
    (1, format('%s ÷ floor', shape), ratio, 'at-least', case shape when 'single' then 1.2 else 1.5 end, ''),
    (2, format('%s, row writes a step', shape), writes_per_step, 'at-most', case when shape like 'chain:%' then 5.3 end, ''),
    (3, format('%s, log a step without page images', shape), log_bytes_per_step - full_page_bytes_per_step, 'at-most',
     case when shape like 'chain:%' then 900 when shape = 'single' then 1740 end, 'bytes')) w (place, what, measured, how, bound, unit)
  where w.bound is not null order by s.id, w.place"
