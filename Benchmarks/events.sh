#!/usr/bin/env bash
# How fast a backlog of events is published to an HTTP endpoint, and how soon after its commit a new event is there.
#
#   Benchmarks/events.sh [--backlog N] [--rate N] [--seconds N] [--json]
#
#   --backlog   events to drain (default: 1000000)
#   --rate      events a second while live (default: 10000)
#   --seconds   how long; a writer that was open before stays open throughout (default: 60)
#
# The server keeps the time of each commit, by which the delay of an event is measured.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
backlog=1000000 rate=10000 seconds=60 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --backlog) backlog=${2:?}; shift 2 ;;
    --rate) rate=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
require_program
own_server "${arguments[@]}"

start_measuring
sql postgres --command="alter system set track_commit_timestamp = on"
crash_server
figures=$(bench events --backlog "$backlog" --rate "$rate" --seconds "$seconds" --open-writer)
measured events millrace 1 "$figures"
published events "
  select f.key as figure, f.value #>> '{}' as value
  from measurement m, jsonb_each(m.figures) f where jsonb_typeof(f.value) not in ('array', 'object')
  union all
  select format('commit to delivery, %s, ms', f.key), f.value #>> '{}'
  from measurement m, jsonb_each(m.figures->'commit_to_delivery_ms') f"
judge_bench events "$figures"
[ "$missed" -eq 0 ]
