#!/usr/bin/env bash
# What an old snapshot costs: another session holds one throughout, as a long report or a dump does, so that no dead row
# can be cleared away. The rate must not fall, and no row may be written over and over.
#
#   Benchmarks/pinned.sh [--rounds N] [--steps N] [--shape SHAPE] [--json]
#
#   --rounds   measurements, each in a new database (default: 5)
#   --steps    steps of one of them (default: 500000)
#   --shape    chain:N or diamond:N (default: chain:10)
#
# Fails where the median of the last tenth's rate is less than 0.9 of the first tenth's, where a step leaves more than 2.5
# dead rows, or where a row has more than 8 versions. Steps that count down many needs and agents' rows are shown apart.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
rounds=5 steps=500000 shape=chain:10 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift 2 ;;
    --steps) steps=${2:?}; shift 2 ;;
    --shape) shape=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
case $shape in
  chain:*) per_run=${shape#*:} ;;
  diamond:*) per_run=$((${shape#*:} + 2)) ;;
  *) die "unknown shape '$shape'" "it is chain:N or diamond:N" ;;
esac
require_program
own_server "${arguments[@]}"

# hold_snapshot, release_snapshot: in a session of its own, for longer than the program does, so that what it kept from
# being cleared away can be counted
hold_snapshot() {
  coproc holder { psql --no-psqlrc --quiet --no-align --tuples-only --dbname=millrace; }
  echo 'begin isolation level repeatable read; select 1;' >&"${holder[1]}"
  read -r _ <&"${holder[0]}"
}
release_snapshot() {
  # shellcheck disable=SC2154  # bash sets it
  local process=$holder_PID input=${holder[1]}
  exec {input}>&-
  wait "$process"
}

start_measuring
for ((round = 1; round <= rounds; round++)); do
  say "round $round of $rounds"
  new_database millrace
  sql millrace --command='create extension pageinspect'
  sql postgres --command=checkpoint
  hold_snapshot
  figures=$("$millrace" bench throughput --database "$(database_url millrace)" --shape "$shape" --runs $((steps / per_run)) \
    --handler noop --pinned --json)
  versions=$(sql millrace --file=Benchmarks/pinned/versions.sql)
  release_snapshot
  measured "$shape" millrace "$round" "$(sql figures --set=a="$figures" --set=b="$versions" <<<"select :'a'::jsonb || :'b'")"
done

results="
  select subject as shape, count(*) as rounds, max((figures->>'steps')::int) as steps,
         round(percentile_cont(0.5) within group (order by last / first)::numeric, 2) as last_to_first_tenth,
         round(min(last / first)::numeric, 2) as lowest, round(max(last / first)::numeric, 2) as highest,
         round(percentile_cont(0.5) within group (order by last)::numeric) as last_tenth_steps_per_second,
         round(max((figures->>'dead_rows_per_step')::float8)::numeric, 2) as dead_rows_per_step,
         max((figures->'versions'->>'others')::int) as versions_of_a_row,
         max((figures->'versions'->>'fan_in')::int) as versions_of_a_fan_in,
         max((figures->'versions'->>'agent')::int) as versions_of_an_agent,
         max(figures->'versions'->>'most_written') as most_written
  from (select *, (figures->>'first_tenth_steps_per_second')::float8 as first,
               (figures->>'last_tenth_steps_per_second')::float8 as last from measurement) as m
  group by subject"
published pinned "$results"
judge_all "
  select w.what, w.measured, w.how, w.bound, w.unit from ($results) as r, lateral (values
    ('under a held snapshot, last ÷ first tenth', last_to_first_tenth, 'at-least', 0.9, ''),
    ('under a held snapshot, dead rows a step', dead_rows_per_step, 'at-most', 2.5, ''),
    ('under a held snapshot, versions of a row', versions_of_a_row, 'at-most', 8, '')) as w (what, measured, how, bound, unit)"
[ "$missed" -eq 0 ]
