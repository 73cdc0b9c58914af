#!/usr/bin/env bash
# Every benchmark, one after the other, and a table of all verdicts at the end. For a machine that does nothing else.
#
#   Benchmarks/all.sh [--quick] [--results DIRECTORY] [--recordings DIRECTORY] [--skip NAME]… [NAME…]
#
#   NAME           throughput, latency, pinned, ballast, wide, sweep, events, replay, load, readiness or peers
#                  (default: all, in this order; replay only with --recordings)
#   --quick        small, to see that all of them work: its figures mean little
#   --results      where tables and verdicts are written (default: Benchmarks/results)
#   --recordings   WfFormat files to replay
#   --skip         leaves one out
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

readonly all=(throughput latency pinned ballast wide sweep events replay load readiness peers)
quick=false results=Benchmarks/results recordings='' skipped=() names=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=true; shift ;;
    --results) results=${2:?}; shift 2 ;;
    --recordings) recordings=$(readlink -f "${2:?}"); shift 2 ;;
    --skip) skipped+=("${2:?}"); shift 2 ;;
    -*) usage ;;
    *) [[ " ${all[*]} " == *" $1 "* ]] || usage; names+=("$1"); shift ;;
  esac
done
[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
require_program

# What a quick one is told.
declare -A small=(
  [throughput]='--pairs 1 --steps 10000'
  [latency]='--rounds 1 --seconds 3'
  [pinned]='--rounds 1 --steps 50000'
  [ballast]='--finished 100000 --waiting 20000 --sleeping 20000 --begun 10000 --pairs 1 --steps 10000'
  [wide]='--rounds 1'
  [sweep]='--rounds 1 --steps 5000 --batches 500 --flights 2 --lookaheads 5ms'
  [events]='--backlog 50000 --seconds 3'
  [replay]='--seconds 3 --workers 8'
  [load]='--rounds 1 --minutes 0.5 --speed-up 50'
  [readiness]='--runs 50 --history 10000'
  [peers]='--quick'
)

script() {
  case $1 in
    peers) echo Benchmarks/peers/run.sh ;;
    *) echo "Benchmarks/$1.sh" ;;
  esac
}

mkdir -p "$results"
verdicts=$(readlink -f "$results")/verdicts.tsv
summary="$results/summary.txt"
: >"$verdicts"
{
  printf 'Begun at %s, on %s cores with %s MiB of memory, %s\n' "$(date --utc '+%F %T UTC')" "$(nproc)" \
    "$(awk '/MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)" "$(uname -sr)"
  printf 'Load when it began: %s\n' "$(cut --delimiter=' ' --fields=1-3 /proc/loadavg)"
} >"$summary"

# run NAME: its table into a file, its verdicts into another; one that breaks off has missed what it was to show.
run() {
  local name=$1 arguments=() began=$SECONDS status=0 before
  [ "$quick" = false ] || read -ra arguments <<<"${small[$name]}"
  if [ "$name" = replay ]; then
    [ -n "$recordings" ] || { say "no recordings, no replays"; return; }
    arguments+=("$recordings")
  fi
  say "$name"
  before=$(wc --lines <"$verdicts")
  printf '%s\n' "$name" >>"$verdicts"
  MILLRACE_VERDICTS=$verdicts "$(script "$name")" "${arguments[@]}" >"$results/$name.txt" 2> >(tee "$results/$name.log" >&2) || status=$?
  # One that has missed a bound may say so by its status, too.
  [ "$status" -eq 0 ] || tail --lines=+$((before + 1)) "$verdicts" | grep --quiet --perl-regexp '\tmissed$' || MILLRACE_VERDICTS=$verdicts judge "$name broke off, see $results/$name.log" "$status" at-most 0 status
  printf '%-12s %6d s\n' "$name" $((SECONDS - began)) >>"$summary"
}

for name in "${names[@]}"; do
  [[ " ${skipped[*]} " == *" $name "* ]] || run "$name"
done

# The table of verdicts: a line without tabs is a heading.
awk -F '\t' '
  NF == 1 { printf "\n%s\n", $1 }
  NF > 1 { printf "  %-7s %-62s %12s  %s %s %s\n", $6, $1, $2 == "" ? "-" : $2, $3, $4, $5; $6 == "ok" ? kept++ : missed++ }
  END { printf "\n%d kept, %d missed\n", kept, missed }' "$verdicts" >>"$summary"
cat "$summary"
! grep --quiet --perl-regexp '\tmissed$' "$verdicts"
