#!/usr/bin/env bash
# The full chaos test, on both tiers: three agents and 20,000 steps of 20 ms, while agents, connections, server processes
# and the server itself are killed 20 times; and whether work goes on in time. `make test` runs a small one.
#
#   scripts/chaos.sh [STEPS [KILLS]]
set -euo pipefail
cd "$(dirname "$0")/.."

export MILLRACE_CHAOS_STEPS=${1:-20000} MILLRACE_CHAOS_KILLS=${2:-20} MILLRACE_CHAOS_LEASE=10 MILLRACE_CHAOS_STRICT=1
exec scripts/check-program.sh --filter ChaosTests
