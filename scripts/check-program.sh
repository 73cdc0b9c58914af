#!/usr/bin/env bash
# Runs the Swift tests, in the configuration that the program was built in.
#
#   scripts/check-program.sh [ARGUMENT…]     arguments of `swift test`, such as --filter NAME
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# Most tests start servers and processes and wait for them: all at once they would starve each other.
width=()
[[ $(swift test --help-hidden) != *--experimental-maximum-parallelization-width* ]] ||
  width=(--experimental-maximum-parallelization-width 12)
# Testable imports, which no test uses, would make the compiler's flags differ from the program's, and every package
# be compiled a second time.
swift test --configuration release --disable-xctest --disable-testable-imports "${width[@]}" "$@" 2>&1 | tee "$log" || status=$?

# One line a test: "✔ Test name() passed after 0.1 seconds." A run that breaks off has failed, whatever it counted.
count() { grep -c -E "^[^ ]+ Test .* $1 after [0-9.]+ seconds" "$log" || true; }
passed=$(count passed)
failed=$(count failed)
overall=$(grep -c -E '^[^ ]+ Test run with .* (passed|failed) after' "$log" || true)
passed=$((passed - $(grep -c -E '^[^ ]+ Test run with .* passed after' "$log" || true)))
failed=$((failed - $(grep -c -E '^[^ ]+ Test run with .* failed after' "$log" || true)))
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ] || [ "$overall" -eq 0 ]; then failed=$((failed + 1)); fi
summarise "$passed" "$failed"
