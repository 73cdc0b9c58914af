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
# in production. What is not its default is named here and in docs/performance.md.
own_server() {
  [ -z "${MILLRACE_CLUSTER:-}" ] || return 0
  exec scripts/with-cluster.sh --tier dispatcher --durable --set shared_buffers=512MB --set max_wal_size=8GB \
    --set checkpoint_timeout=30min -- "$benchmark" "$@"
}

require_program() { [ -x "$millrace" ] || die "$millrace does not exist" "run 'make build install-extension'"; }

# sql DATABASE ARGUMENT…: psql that stops at the first error and prints bare values.
sql() { psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --dbname="$1" "${@:2}"; }

database_url() { printf 'postgresql://%s@127.0.0.1:%s/%s' "$PGUSER" "$PGPORT" "$1"; }

# new_database NAME: empty, with the extension.
new_database() {
  sql postgres --command="drop database if exists $1 with (force)" --command="create database $1" 2>/dev/null
  sql "$1" --command='create extension millrace'
}

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

# published NAME QUERY: the answer, as a table for people or, with --json, as one object.
# shellcheck disable=SC2154  # every benchmark reads --json into json
published() {
  if [ "$json" = true ]; then
    sql figures --set=name="$1" <<<"select json_build_object('benchmark', :'name', 'results', json_agg(r)) from ($2) as r"
  else
    psql --no-psqlrc --quiet --pset=footer=off --pset=border=1 --dbname=figures --command="$2"
  fi
}
