#!/usr/bin/env bash
# Whether an agent that tunes itself finds the best fixed setting: both run in turns, on one server, with each shape.
#
#   Benchmarks/sweep.sh [--rounds N] [--steps N] [--batches "N…"] [--flights "N…"] [--lookaheads "TIME…"] [--json] [SHAPE[@MS]…]
#
#   SHAPE         single, chain:N or diamond:N, of steps that do nothing; with @MS they sleep for so many milliseconds, 16
#                 at a time (default: single chain:10 diamond:8 chain:10@1)
#   --rounds      how often each setting has its turn (default: 3)
#   --steps       steps of one measurement; a tenth of it for steps that sleep (default: 100000)
#   --batches     results, and new steps, of one call (default: "100 500 2000")
#   --flights     calls under way at once (default: "1 2 4")
#   --lookaheads  how much work an agent holds ahead; matters only to steps that take time (default: "0ms 5ms 50ms")
#
# The agent that tunes itself starts anew in each measurement, so that what it loses until it has found its setting counts.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
rounds=3 steps=100000 batches="100 500 2000" flights="1 2 4" lookaheads="0ms 5ms 50ms" json=false shapes=()
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift 2 ;;
    --steps) steps=${2:?}; shift 2 ;;
    --batches) batches=${2:?}; shift 2 ;;
    --flights) flights=${2:?}; shift 2 ;;
    --lookaheads) lookaheads=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    -*) usage ;;
    *) shapes+=("$1"); shift ;;
  esac
done
[ ${#shapes[@]} -gt 0 ] || shapes=(single chain:10 diamond:8 chain:10@1)
require_program
own_server "${arguments[@]}"

# settings SHAPE: every fixed one as "batch flights lookahead", and "tuned".
settings() {
  local batch flight lookahead held=$lookaheads
  [[ $1 == *@* ]] || held=${lookaheads##* }
  for batch in $batches; do
    for flight in $flights; do
      for lookahead in $held; do echo "$batch $flight $lookahead"; done
    done
  done
  echo tuned
}

# measure SHAPE ROUND SETTING
measure() {
  local shape=${1%@*} count=$steps work=(--handler noop) setting figures
  [ "$shape" = "$1" ] || { count=$((steps / 10)); work=(--step-duration "${1#*@}" --concurrency 16); }
  read -r -a setting <<<"$3"
  sql postgres --command=checkpoint
  figures=$(
    if [ "$3" != tuned ]; then
      export MILLRACE_AGENT_REPORTS_BATCH_SIZE=${setting[0]} MILLRACE_AGENT_REPORTS_FLIGHTS=${setting[1]}
      export MILLRACE_AGENT_CLAIMS_LOOKAHEAD=${setting[2]}
    fi
    "$millrace" bench throughput --database "$(database_url sweep)" --shape "$shape" "${work[@]}" \
      --runs $((count / $(steps_per_run "$shape"))) --json
  )
  measured "$1" "$3" "$2" "$figures"
}

start_measuring
new_database sweep
for shape in "${shapes[@]}"; do
  mapfile -t all < <(settings "$shape")
  for ((round = 1; round <= rounds; round++)); do
    say "$shape, round $round of $rounds: ${#all[@]} settings"
    # Each round begins elsewhere, so that none always has the emptier tables.
    for ((turn = 0; turn < ${#all[@]}; turn++)); do
      measure "$shape" "$round" "${all[$(((turn + round * 7) % ${#all[@]}))]}"
    done
  done
done

sql figures --command="create view summary as
  with rate as (select subject, side, pair, (figures->>'steps_per_second')::float8 as rate from measurement),
       middle as (select subject, side, percentile_cont(0.5) within group (order by rate) as rate from rate group by 1, 2),
       best as (select distinct on (subject) * from middle where side <> 'tuned' order by subject, rate desc),
       worst as (select distinct on (subject) * from middle where side <> 'tuned' order by subject, rate)
  select b.subject as shape, b.side as best_fixed, round(b.rate::numeric) as best_steps_per_second,
         w.side as worst_fixed, round(w.rate::numeric) as worst_steps_per_second,
         round(t.rate::numeric) as tuned_steps_per_second,
         round((select percentile_cont(0.5) within group (order by tuned.rate / fixed.rate)
                from rate tuned join rate fixed using (subject, pair)
                where subject = b.subject and tuned.side = 'tuned' and fixed.side = b.side)::numeric, 2) as tuned_to_best
  from best b join worst w using (subject) join middle t on t.subject = b.subject and t.side = 'tuned'
  order by (select min(id) from measurement m where m.subject = b.subject)"
published sweep 'select * from summary'
judge_all "select format('%s, tuned ÷ best fixed setting', shape), tuned_to_best, 'at-least', 0.9, '' from summary"
