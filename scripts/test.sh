#!/usr/bin/env bash
# Every test: builds the program and installs the extension, runs all parts whatever the outcome of the one before,
# and closes with a summary and the count of all.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

make --no-print-directory build install-extension

log=$(mktemp)
trap 'rm -f "$log"' EXIT
total_passed=0 total_failed=0 summary='' failures=''

# What the test programs write of a test that did not pass, and why: pg_regress, prove, swift test, our own scripts.
readonly failure_lines='^(test .* FAILED|not ok |✘ |FAILED |failed |error: )'

# part TITLE SCRIPT: a part ends with its own "N passed, N failed"; one that ends without has failed as a whole.
part() {
  local title=$1 script=$2 status=0 passed=0 failed=0 started=$SECONDS
  say "$title"
  "$script" 2>&1 | tee "$log" || status=$?
  read -r passed failed < <(sed -n -E 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log" | tail -n 1) || true
  [ "$status" -eq 0 ] || [ "${failed:-0}" -gt 0 ] || failed=$((${failed:-0} + 1))
  if [ "${failed:-0}" -gt 0 ]; then
    # A part that breaks off names no test: then its last lines tell.
    failures+="$title"$'\n'"$({ grep -E "$failure_lines" "$log" || tail -n 20 "$log"; } | sed -n '1,40 s/^/  /p')"$'\n'
  fi
  total_passed=$((total_passed + ${passed:-0}))
  total_failed=$((total_failed + ${failed:-0}))
  printf -v summary '%s  %-44s %5d passed %5d failed %6d s\n' \
    "$summary" "$title" "${passed:-0}" "${failed:-0}" $((SECONDS - started))
}

part "documents agree with the code" scripts/check-documents.sh
part "definitions fit their schema" scripts/check-schema.sh
part "extension: regression and isolation" scripts/check-extension.sh
part "extension: restart, crash, dump, upgrade" scripts/check-recovery.sh
part "program: Swift tests" scripts/check-program.sh
part "examples" scripts/check-examples.sh

[ -z "$failures" ] || printf '\nWhat failed\n%s' "$failures"
printf '\n%s' "$summary"
summarise "$total_passed" "$total_failed"
