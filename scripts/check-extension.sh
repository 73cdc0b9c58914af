#!/usr/bin/env bash
# Runs the extension's regression tests and isolation specs against private clusters, once on each tier.
#
#   scripts/check-extension.sh [--tier plain|dispatcher] [TEST…]
#
#   TEST   names of regression tests or specs (default: all of extension/test/schedule, then all of test/specs)
#
# The extension must be installed (make install-extension). The tests run in a copy of extension/test that the server's
# account owns, so that nothing is written into the sources.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

tiers=(plain dispatcher)
if [ "${1:-}" = --tier ]; then
  tiers=("${2:?--tier needs plain or dispatcher}")
  shift 2
fi

if [ $# -gt 0 ]; then
  tests=("$@")
else
  mapfile -t tests < <(
    sed -e 's/ *#.*//' -e '/^$/d' extension/test/schedule
    find extension/test/specs -name '*.spec' -printf '%f\n' 2>/dev/null | sed 's/\.spec$//' | sort
  )
fi
regressions=() specs=()
for test in "${tests[@]}"; do
  if [ -e "extension/test/sql/$test.sql" ]; then
    regressions+=("$test")
  elif [ -e "extension/test/specs/$test.spec" ]; then
    specs+=("$test")
  else
    die "there is no test '$test'" "tests are extension/test/sql/*.sql and extension/test/specs/*.spec"
  fi
done

pg_config=$(require_pg_config)
harness=$(dirname "$("$pg_config" --pgxs)")/../test
scratch=$(mktemp -d "${TMPDIR:-/tmp}/millrace-check.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

# run_tests TIER PROGRAM TEST…: pg_regress, or its sister for specs, on a cluster of its own, in a database that has
# the extension. What does not pass has failed, whatever the reason.
# Nothing is vacuumed in between: durations are learnt from the end of the log, which must be where the newest events are.
run_tests() {
  local tier=$1 program=$2 work passes
  shift 2
  [ $# -gt 0 ] || return 0
  work=$scratch/$tier-$(basename "$program")
  mkdir "$work" "$work/output"
  cp -r extension/test "$work/input"
  ! is_root || chown -R postgres: "$scratch"
  say "$(basename "$program"), $tier tier"
  scripts/with-cluster.sh --tier "$tier" --set max_prepared_transactions=20 --set autovacuum=off --as-server -- \
    env --chdir="$work" bash -c "$run_and_export" run "$harness/$program" --bindir="$("$pg_config" --bindir)" --dbname=regression \
    --inputdir="$work/input" --outputdir="$work/output" --load-extension=millrace "$@" 2>&1 | tee "$work/log" ||
    cat "$work/output/regression.diffs" 2>/dev/null || true
  passes=$(grep -c -E '^(test .* \.\.\. ok|ok [0-9]+) ' "$work/log" || true)
  passed=$((passed + passes))
  failed=$((failed + $# - passes))
}

# The tests, then what definitions they leave behind.
readonly run_and_export='status=0
  "$@" || status=$?
  psql --dbname=regression --no-align --tuples-only --quiet >definitions \
    --command="select definition from millrace.workflows where steps <= 1000 limit 2000"
  exit "$status"'

# check_schema TIER: all that the engine has accepted fits the published schema.
check_schema() {
  local problems
  if [ ! -s "$scratch/$1-pg_regress/definitions" ]; then
    return
  elif problems=$(fit_schema definitions <"$scratch/$1-pg_regress/definitions"); then
    printf 'ok      schema: the definitions of the regression tests fit\n'
    passed=$((passed + 1))
  else
    printf 'not ok  schema: the definitions of the regression tests fit\n%s\n' "$problems"
    failed=$((failed + 1))
  fi
}

for tier in "${tiers[@]}"; do
  run_tests "$tier" regress/pg_regress "${regressions[@]}"
  check_schema "$tier"
  run_tests "$tier" isolation/pg_isolation_regress "${specs[@]}"
done
summarise "$passed" "$failed"
