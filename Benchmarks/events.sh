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
backlog=1000000 rate=10000 seconds=60 form=()
while [ $# -gt 0 ]; do
  case $1 in
    --backlog) backlog=${2:?}; shift 2 ;;
    --rate) rate=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
    --json) form=(--json); shift ;;
    *) usage ;;
  esac
done
require_program
own_server "${arguments[@]}"

sql postgres --command="alter system set track_commit_timestamp = on"
crash_server
new_database millrace
"$millrace" bench events --database "$(database_url millrace)" --backlog "$backlog" --rate "$rate" --seconds "$seconds" --open-writer "${form[@]}"
