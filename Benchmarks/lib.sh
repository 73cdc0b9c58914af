# shellcheck shell=bash
# What the benchmarks share. Sourced first, never run; the caller has `set -euo pipefail`.
# Measurements are rows of a table, and what is published is a query over them.
benchmark=$(readlink -f "$0")
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." || exit
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

millrace=${MILLRACE:-bin/millrace}

# usage: the caller's opening comment.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$benchmark"
  exit 2
}

# own_server ARGUMENT…: from here on the benchmark runs against a private server that is safe on disk at each commit, as
# in production. What is not its default is named here and in docs/performance.md; more can stand in more_settings.
more_settings=()
own_server() {
  [ -z "${MILLRACE_CLUSTER:-}" ] || return 0
  local setting settings=()
  for setting in shared_buffers=512MB min_wal_size=3GB max_wal_size=8GB checkpoint_timeout=30min "${more_settings[@]}"; do
    settings+=(--set "$setting")
  done
  exec scripts/with-cluster.sh --tier dispatcher --durable "${settings[@]}" -- "$benchmark" "$@"
}

require_program() { [ -x "$millrace" ] || die "$millrace does not exist" "run 'make build install-extension'"; }

# sql DATABASE ARGUMENT…: psql that stops at the first error and prints bare values.
sql() { psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --dbname="$1" "${@:2}"; }

database_url() { printf 'postgresql://%s@127.0.0.1:%s/%s' "$PGUSER" "$PGPORT" "$1"; }

# new_database NAME: empty, with the extension, and with the server's own that tells images of pages in the log apart.
new_database() {
  sql postgres --command="drop database if exists $1 with (force)" --command="create database $1" 2>/dev/null
  sql "$1" --command='create extension millrace' --command='create extension pg_walinspect'
}

# recycle_log: from here on the server takes files of its log that it is done with, as one does that has run for a while.
# A young one makes each file anew, 16 MiB of zeros written to disk, and all commits wait for that several times a second.
recycle_log() {
  say "log files to be used again"
  for ((i = 0; i < 190; i++)); do
    echo "select pg_logical_emit_message(false, 'benchmark', 'a file to come'); select pg_switch_wal();"
  done | sql postgres >/dev/null
  sql postgres --command=checkpoint --command=checkpoint
}

# crash_server: the private server stops at once, as in a power cut, and is started again. It ends with this script.
crash_server() {
  local program arguments account=()
  program=$("$(require_pg_config)" --bindir)
  eval "arguments=($(cut --delimiter=' ' --fields=2- "$MILLRACE_CLUSTER/data/postmaster.opts"))"
  stop_at_once
  ! is_root || account=(--reuid=postgres --regid=postgres --init-groups)
  (cd / && exec setpriv "${account[@]}" --pdeathsig INT -- "$program/postgres" "${arguments[@]}") \
    >>"$MILLRACE_CLUSTER/server.log" 2>&1 </dev/null &
  trap stop_at_once EXIT
  until pg_isready --quiet; do sleep 0.05; done
}

stop_at_once() {
  local server
  server=$(head --lines=1 "$MILLRACE_CLUSTER/data/postmaster.pid") || return 0
  kill -QUIT "$server"
  while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
}

# steps_per_run SHAPE
steps_per_run() {
  case $1 in
    single) echo 1 ;;
    chain:*) echo "${1#*:}" ;;
    diamond:*) echo $((${1#*:} + 2)) ;;
    *) die "unknown shape '$1'" "it is single, chain:N or diamond:N" ;;
  esac
}

# server_settings: what of the server's settings matters here, as a JSON object.
server_settings() {
  sql postgres --command="
    select json_object_agg(name, current_setting(name)) from pg_settings
    where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size',
                   'checkpoint_timeout', 'shared_preload_libraries')"
}

# median: of the numbers on standard input, one a line.
median() { sort --general-numeric-sort | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# measured SUBJECT SIDE PAIR FIGURES: keeps one measurement; FIGURES is a JSON object.
measured() {
  sql figures --set=subject="$1" --set=side="$2" --set=pair="$3" --set=figures="$4" \
    <<<"insert into measurement (subject, side, pair, figures) values (:'subject', :'side', :pair, :'figures')"
}

start_measuring() {
  sql postgres --command='drop database if exists figures' --command='create database figures' 2>/dev/null
  sql figures --command='create table measurement (
    id int generated always as identity, subject text, side text, pair int, figures jsonb)'
}

# judge WHAT MEASURED at-most|at-least BOUND [UNIT]: says whether a bound was kept, and keeps that as a line of the file
# named by MILLRACE_VERDICTS, if one is. What could not be measured has missed its bound.
missed=0
judge() {
  local verdict=missed number='^-?[0-9.]+([eE][-+]?[0-9]+)?$'
  if [[ $2 =~ $number ]] && awk -v m="$2" -v b="$4" -v how="$3" 'BEGIN { exit !(how == "at-most" ? m <= b : m >= b) }'; then
    verdict=ok
  else
    missed=$((missed + 1))
  fi
  say "$verdict: $1: ${2:-not measured}, ${3/-/ } $4 ${5:-}"
  [ -z "${MILLRACE_VERDICTS:-}" ] ||
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "${2:-}" "${3/-/ }" "$4" "${5:-}" "$verdict" >>"$MILLRACE_VERDICTS"
}

# judge_all QUERY: of the measurements; its columns are the arguments of `judge`.
judge_all() {
  local what measured how bound unit
  while IFS='|' read -r what measured how bound unit; do
    judge "$what" "$measured" "$how" "$bound" "$unit"
  done < <(sql figures --command="$1")
}

# judge_bench TITLE FIGURES: the verdicts that `millrace bench` has given itself.
judge_bench() {
  local what measured bound unit
  while IFS='|' read -r what measured bound unit; do
    judge "$1: $what" "$measured" at-most "$bound" "$unit"
  done < <(sql figures --set=figures="$2" <<<"
    select v->>'name', round((v->>'measured')::numeric, 3), v->>'bound', v->>'unit'
    from jsonb_array_elements(:'figures'::jsonb->'verdicts') v")
}

# bench ARGUMENT…: one of the program's benchmarks, on a new database; its object. A missed bound stands in there.
bench() {
  local figures status=0
  new_database millrace
  sql postgres --command=checkpoint
  figures=$("$millrace" bench "$@" --database "$(database_url millrace)" --json) || status=$?
  if [ "$status" -gt 1 ] || [ -z "$figures" ]; then die "bench $* ended with $status"; fi
  tail --lines=1 <<<"$figures"
}

# published NAME QUERY: the answer, as a table for people or, with --json, as one object.
# shellcheck disable=SC2154  # every benchmark reads --json into json
published() {
  if [ "$json" = true ]; then
    sql figures --set=name="$1" --set=server="$(server_settings)" \
      <<<"select json_build_object('benchmark', :'name', 'server', :'server'::json, 'results', json_agg(r)) from ($2) as r"
  else
    psql --no-psqlrc --quiet --pset=footer=off --pset=border=1 --dbname=figures --command="$2"
  fi
}
