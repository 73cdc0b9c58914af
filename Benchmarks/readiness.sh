#!/usr/bin/env bash
# What it costs to look and to wait: ready steps of half-done runs beside the older ways of finding them, the latest
# runs, one claim, one report, an idle agent, and the keeper with a long history.
#
#   Benchmarks/readiness.sh [--runs "N…"] [--history N] [--json]
#
#   --runs      live runs of ten steps, half done, beside those of 10, 100 and 1,000 that are asked about
#               (default: "50 500 5000 50000")
#   --history   finished steps that are stored when the questions are asked again (default: 10000000)
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
runs="50 500 5000 50000" history=10000000 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --runs) runs=${2:?}; shift 2 ;;
    --history) history=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
require_program
own_server "${arguments[@]}"

# ask SUBJECT SIDE REPEATS QUESTION: its median as a prepared statement, and as one that is planned each time
ask() {
  local took
  took=$(sql millrace --set=question="$4" --set=repeats="$3" <<'SQL'
select json_build_object('milliseconds', benchmark.milliseconds(:'question', :repeats),
                         'planned_milliseconds', benchmark.milliseconds(:'question', greatest(:repeats / 4, 5), prepared => false))
SQL
)
  measured "$1" "$2" 1 "$took"
}

# ask_all PREFIX: the questions that a long history must not make dearer
ask_all() {
  ask "$1ready steps, run of 1,000" millrace 100 "select key from millrace.steps where run_id = $large and state = 'ready'"
  ask "$1ready steps, run of 10 among many" millrace 200 "select key from millrace.steps where run_id = $small and state = 'ready'"
  ask "$1latest 50 runs" millrace 50 'select * from millrace.runs order by run_id desc limit 50'
  ask "$1keeper, nothing due" millrace 50 'select millrace.keep()'
}

start_measuring
new_database millrace
sql millrace --file=Benchmarks/readiness/milliseconds.sql
ask 'keeper, nothing due' 'millrace, empty' 50 'select millrace.keep()'
say "live runs, half done: $runs"
# shellcheck disable=SC2086  # one argument each
figures=$("$millrace" bench readiness --database "$(database_url millrace)" --steps 10 100 1000 --runs $runs --json | tail --lines=1)
judge_bench readiness "$figures"
sql figures --set=figures="$figures" <<'SQL'
insert into measurement (subject, side, pair, figures)
select format('ready steps of %s, %s live runs', case when steps_of_run = 'all runs' then steps_of_run else 'a run of ' || steps_of_run end, live_runs),
       side, 1, jsonb_build_object('milliseconds', milliseconds)
from jsonb_to_recordset(:'figures'::jsonb->'questions') as q
       (live_runs int, steps_of_run text, millrace_ms float8, latest_transition_ms float8, flagged_transition_ms float8),
  lateral (values ('millrace', millrace_ms), ('latest', latest_transition_ms), ('flag', flagged_transition_ms)) as s (side, milliseconds)
SQL
# a_run STEPS: one of those that were asked about
a_run() { sql millrace --command="select min(run_id) from millrace.runs where workflow = 'bench.readiness:$1'"; }
large=$(a_run 1000) small=$(a_run 10)
ask_all ''

say "one claim and one report at a time"
# latencies SIDE DATABASE SCRIPT [OPTION…]: of the script's two statements, as pgbench sees them
latencies() {
  local side=$1 database=$2 script=$3 claim report
  shift 3
  { read -r claim; read -r report; } < <(
    pgbench --no-vacuum --protocol=prepared --report-per-command --transactions=1000 --file=<(printf '%s' "$script") "$@" "$database" 2>/dev/null |
      sed -n '/per-command\|statement latencies/,$s/^ *\([0-9.]\+\) .*select.*/\1/p')
  measured 'one claim' "$side" 1 "{\"milliseconds\": ${claim:?pgbench failed}}"
  measured 'one report' "$side" 1 "{\"milliseconds\": ${report:?pgbench failed}}"
}
sql millrace --output=/dev/null --command="select millrace.define_workflow('{\"workflow\": \"one\", \"steps\": [{\"key\": \"only\", \"handler\": \"noop\"}]}')" \
  --command="select millrace.submit_many('one', array_fill(null::jsonb, array[2000]))"
agent=$(sql millrace --command="select agent_id from millrace.register_agent('{default}', '{noop}', lease => '1 hour', listening => false)")
latencies millrace millrace "
select run_id, step_no, token from millrace.claim(:agent, 1) \gset
select answer from millrace.report(:agent, array[:run_id::bigint], array[:step_no::int], array[:token::int], array['completed']) \gset
" --define=agent="$agent"
Benchmarks/floor.sh --shape single --steps 1000 --json >/dev/null
sql floor --output=/dev/null --command="select floor.submit('single', 2000)" --command='vacuum analyze'
latencies floor floor "
select run_id, no from floor.claim(1) \gset
select floor.complete(array[:run_id::bigint], array[:no::int]) \gset
"

say "an idle agent, for half a minute"
statements() { grep -cE 'LOG:  (execute|statement)' "$MILLRACE_CLUSTER/server.log"; }
new_database idle
sql postgres --command="alter database idle set log_statement = 'all'"
"$millrace" agent --database "$(database_url idle)" 2>/dev/null &
agent_process=$!
until [ "$(sql idle --command='select count(*) from millrace.agents')" -gt 0 ]; do sleep 0.1; done
sleep 2   # it has said hello
before=$(statements)
sleep 30
measured 'idle agent, statements a second' millrace 1 \
  "$(sql postgres --command="select json_build_object('per_second', ($(statements) - $before) / 30.0)")"
kill -TERM "$agent_process"
wait "$agent_process" || true

say "the same questions with $history finished steps stored"
sql millrace --output=/dev/null --set=steps="$history" --file=Benchmarks/readiness/history.sql
ask_all 'with history: '

published readiness "
  select subject, side,
         round((figures->>'milliseconds')::numeric, 3) as milliseconds,
         round((figures->>'planned_milliseconds')::numeric, 3) as planned_each_time,
         round((figures->>'per_second')::numeric, 2) as per_second,
         round(((figures->>'milliseconds')::float8
           / first_value((figures->>'milliseconds')::float8) over (partition by replace(subject, 'with history: ', '')
               order by side <> 'millrace', id))::numeric, 1) as times_millrace
  from measurement order by replace(subject, 'with history: ', ''), side <> 'millrace', id"
