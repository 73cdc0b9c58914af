#!/usr/bin/env bash
# The same work on Millrace and on its peers, side by side on one server, in turns; prints a table in Markdown.
#
#   Benchmarks/peers/run.sh [--rounds N] [--quick] [--measure NAME]… [--json] [PEER…]
#   Benchmarks/peers/run.sh --prepare [PEER…]
#
#   PEER        pgqueuer, procrastinate, dbos, pgq, celery, or celery-durable (default: all)
#   --measure   single, chain:N, diamond:N, latency (100 jobs a second) or pinned (another session holds a snapshot);
#               default: single chain:10 diamond:8 latency pinned
#   --rounds    measurements of each, in turns (default: 5)
#   --quick     one round with a quarter of the work
#   --prepare   only installs the peers' pinned packages from PyPI, each peer's into a directory of its own below .peers
#
# Needs Python 3.11 with venv, and Debian's redis-server for celery, postgresql-NN-pgq3 and pgqd for pgq.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/../lib.sh"

arguments=("$@")
rounds=5 share=4 prepare=false json=false measures=() peers=()
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift 2 ;;
    --quick) rounds=1 share=1; shift ;;
    --measure) measures+=("${2:?}"); shift 2 ;;
    --prepare) prepare=true; shift ;;
    --json) json=true; shift ;;
    pgqueuer | procrastinate | dbos | pgq | celery | celery-durable) peers+=("$1"); shift ;;
    *) usage ;;
  esac
done
[ ${#measures[@]} -gt 0 ] || measures=(single chain:10 diamond:8 latency pinned)
[ ${#peers[@]} -gt 0 ] || peers=(pgqueuer procrastinate dbos pgq celery celery-durable)

# environment PEER: its packages, exactly as required
environment() {
  local directory=.peers/$1 required=Benchmarks/peers/requirements/$1.txt
  ! cmp --silent "$required" "$directory/installed.txt" || return 0
  say "installing $1 from PyPI"
  rm -rf "$directory"
  "${PYTHON:-python3}" -m venv "$directory"
  "$directory/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$required"
  cp "$required" "$directory/installed.txt"
}

needs() { type -P "$1" >/dev/null || die "$1 was not found, which $2 needs" "apt-get install $3"; }

for peer in "${peers[@]}"; do
  environment "${peer%-durable}"
  case $peer in
    celery*) needs redis-server "$peer" redis-server ;;
    pgq) needs pgqd pgq 'pgqd postgresql-15-pgq3' ;;
  esac
done
[ "$prepare" = false ] || exit 0
require_program
own_server "${arguments[@]}"

# Steps that a side does in a second, about: what makes measurements of different sides last alike.
declare -A flat=([millrace]=40000 [pgqueuer]=20000 [procrastinate]=1500 [dbos]=1500 [pgq]=100000 [celery]=3000 [celery-durable]=800)
declare -A graph=([millrace]=40000 [pgqueuer]=2000 [procrastinate]=800 [dbos]=500 [pgq]=40000 [celery]=1000 [celery-durable]=400)

# runs SIDE MEASURE
runs() {
  case $2 in
    single) echo $((flat[$1] * share)) ;;
    pinned) echo $((flat[$1] * share * 2)) ;;
    chain:*) echo $((graph[$1] * share / ${2#*:} + 1)) ;;
    diamond:*) echo $((graph[$1] * share / (${2#*:} + 2) + 1)) ;;
    *) die "unknown measure '$2'" "it is single, chain:N, diamond:N, latency or pinned" ;;
  esac
}

# work SIDE MEASURE: what both kinds of sides are told
work() {
  case $2 in
    latency) echo latency --rate 100 --seconds $((share * 5)) ;;
    pinned) echo throughput --shape single --pinned --runs "$(runs "$@")" ;;
    *) echo throughput --shape "$2" --runs "$(runs "$@")" ;;
  esac
}

run_millrace() {
  local work
  read -ra work < <(work millrace "$1")
  # as the peers are measured: flat jobs are all there before the workers start
  case $1 in single | pinned) work+=(--backlog) ;; esac
  new_database millrace
  sql postgres --command=checkpoint
  "$millrace" bench "${work[@]}" --database "$(database_url millrace)" --json
}

run_peer() {
  local work name=${1%-durable}
  read -ra work < <(work "$1" "$2")
  [ "$name" = "$1" ] || work+=(--durable)
  PYTHONPATH=Benchmarks PYTHONDONTWRITEBYTECODE=1 \
    setpriv --pdeathsig TERM -- ".peers/$name/bin/python" -m "peers.$name" "${work[@]}"
}

measure() {
  say "$2, round $3 of $rounds: $1"
  local figures
  if [ "$1" = millrace ]; then figures=$(run_millrace "$2"); else figures=$(run_peer "$1" "$2"); fi
  measured "$2" "$1" "$3" "$figures"
}

start_measuring
for subject in "${measures[@]}"; do
  for ((round = 1; round <= rounds; round++)); do
    sides=(millrace "${peers[@]}")
    if [ $((round % 2)) -eq 0 ]; then mapfile -t sides < <(printf '%s\n' "${sides[@]}" | tac); fi
    for side in "${sides[@]}"; do
      # Redis has no snapshots to hold
      case $subject:$side in pinned:celery*) continue ;; esac
      measure "$side" "$subject" "$round"
    done
  done
done

sql figures <<'SQL'
create view median as
select m.side, m.subject, count(*) as rounds, min(m.id) as id, max(m.figures->>'version') as version,
       percentile_cont(0.5) within group (order by (m.figures->>'submitted_per_second')::float8) as submitted_per_second,
       percentile_cont(0.5) within group (order by (m.figures->>'steps_per_second')::float8) as steps_per_second,
       percentile_cont(0.5) within group (
         order by (ours.figures->>'steps_per_second')::float8 / (m.figures->>'steps_per_second')::float8) as millrace_is_times,
       percentile_cont(0.5) within group (order by (m.figures->'submit_to_start_ms'->>'p50')::float8) as start_p50_ms,
       percentile_cont(0.5) within group (order by (m.figures->'submit_to_start_ms'->>'p99')::float8) as start_p99_ms,
       percentile_cont(0.5) within group (
         order by (m.figures->>'last_tenth_steps_per_second')::float8
           / (m.figures->>'first_tenth_steps_per_second')::float8) as last_over_first_tenth,
       percentile_cont(0.5) within group (order by (m.figures->>'wal_bytes_per_step')::float8) as wal_bytes_per_step,
       percentile_cont(0.5) within group (order by (m.figures->>'writes_per_step')::float8) as writes_per_step
  from measurement m join measurement ours
    on ours.subject = m.subject and ours.pair = m.pair and ours.side = 'millrace'
 group by m.side, m.subject;
SQL

# Each peer by itself. PgQ hands out whole batches and keeps no state of a single job, so flat jobs are not compared with it.
judge_all "
  select format('%s, %s, Millrace ÷ %s', subject, 'steps/s', side), round(millrace_is_times::numeric, 2), 'at-least',
         case when subject = 'single' and side not like 'celery%' then 2 else 10 end, ''
  from median where side <> 'millrace' and subject not in ('latency', 'pinned') and not (subject = 'single' and side = 'pgq')
  order by subject, id"

if [ "$json" = true ]; then
  published peers 'select * from median order by id'
  exit 0
fi
sql figures <<'SQL'
with shape as (select distinct subject, min(id) over (partition by subject) as first from median where subject not in ('latency', 'pinned')),
cell as (
  select m.side, s.first, case when m.side = 'millrace' then format('%s', round(m.steps_per_second))
                               else format('%s (%s)', round(m.steps_per_second), round(m.millrace_is_times::numeric, 1)) end as text
    from shape s join median m using (subject))
select format('| peer | submitted/s | %s | start p50 / p99, ms | last ÷ first tenth |',
              (select string_agg(format('%s, steps/s', subject), ' | ' order by first) from shape))
union all
select '|---|--:|' || (select string_agg('--:|', '' order by first) from shape) || '--:|--:|'
union all
(select format('| %s | %s | %s | %s | %s |',
          concat_ws(' ', side, max(version)),
          coalesce(round(max(submitted_per_second))::text, '–'),
          (select string_agg(c.text, ' | ' order by c.first) from cell c where c.side = m.side),
          coalesce(max(format('%s / %s', round(start_p50_ms::numeric, 2), round(start_p99_ms::numeric, 1))) filter (where subject = 'latency'), '–'),
          coalesce(max(round(last_over_first_tenth::numeric, 2)) filter (where subject = 'pinned')::text, '–'))
   from median m group by side order by min(id))
SQL
