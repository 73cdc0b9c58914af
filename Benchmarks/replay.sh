#!/usr/bin/env bash
# Replays recorded workflows (WfFormat) with 64 workers, and compares with a list schedule of the same order in which
# handing out costs nothing. Each step must run once, none before its needs.
#
#   Benchmarks/replay.sh [--workers N] [--seconds N] [--json] DIRECTORY|FILE…
#
#   --seconds   how long a replay should take; recorded times are scaled to it (default: 3)
#
# A replay may take longer than the schedule by 5 ms for each step on the longest path, and 100 ms. Workflows without
# recorded times run as fast as they can.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
workers=64 seconds=3 json=false files=()
while [ $# -gt 0 ]; do
  case $1 in
    --workers) workers=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
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

# field JSON NAME
field() { sql figures --set=json="$1" --set=name="$2" <<<"select :'json'::json->>:'name'"; }

replay() { "$millrace" bench replay --database "$(database_url replay)" --workers "$workers" --time-scale "$2" --json "$1" 2>"$log"; }

# how long the server takes to define it, as a first version
define() {
  { printf '\\set definition `cat %s`\n' "$1"
    cat <<'SQL'
select clock_timestamp() as begun \gset
select millrace.define_workflow(:'definition') \gset
select extract(epoch from clock_timestamp() - :'begun'::timestamptz);
SQL
  } | sql replay
}

start_measuring
new_database replay
log=$(mktemp) definition=$(mktemp)
trap 'rm -f "$log" "$definition"' EXIT
while read -r file; do
  graph=$("$millrace" graph "$file" --format wfformat --json 2>/dev/null) || continue   # no recording
  name=$(basename "$file")
  say "$name"
  "$millrace" import --format wfformat --time-scale 0 --print "$file" >"$definition"
  defined=$(define "$definition")
  # almost without waiting: its lower bound tells the scale of the real one
  quick=$(replay "$file" 0.00001) || { cat "$log" >&2; die "$name cannot be replayed"; }
  scale=$(sql figures --set=quick="$quick" --set=seconds="$seconds" \
    <<<"select coalesce(:seconds * 0.00001 / nullif((:'quick'::json->>'lower_bound')::float8, 0), 0)")
  figures=$(replay "$file" "$scale") || say "$name: a step ran twice, or before its needs"
  measured "$name" millrace 1 "$(sql figures --set=figures="$figures" --set=graph="$graph" --set=defined="$defined" <<'SQL'
select :'figures'::jsonb || jsonb_build_object('depth', (:'graph'::json->>'levels')::int, 'defined', :'defined'::float8)
SQL
  )"
done < <(recordings | sort)

published replay "
  select subject as recording, steps, depth, round(defined::numeric, 3) as defined_seconds,
         round(makespan::numeric, 3) as makespan, round(schedule::numeric, 3) as schedule,
         round((makespan / nullif(schedule, 0))::numeric, 3) as ratio,
         round(((makespan - schedule) * 1000)::numeric) as over_ms, depth * 5 + 100 as allowed_ms,
         executed_once and in_order as correct
  from measurement, jsonb_to_record(figures) as f (
    steps int, depth int, defined float8, makespan float8, schedule float8, executed_once boolean, in_order boolean)
  order by id"
