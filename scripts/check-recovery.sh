#!/usr/bin/env bash
# Runs the tests that start, stop, crash, dump and upgrade whole servers: extension/test/t, by PostgreSQL's own TAP
# modules under prove. The extension must be installed (make install-extension).
#
#   scripts/check-recovery.sh [TEST…]     names without their .pl (default: all)
#
# They run in a copy of extension/test that the server's account owns.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

if [ $# -gt 0 ]; then
  tests=("${@/%/.pl}")
else
  mapfile -t tests < <(cd extension/test/t && ls -- *.pl)
fi

pg_config=$(require_pg_config)
harness=$(dirname "$("$pg_config" --pgxs)")/../test
scratch=$(mktemp -d "${TMPDIR:-/tmp}/millrace-check.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cp -r extension/test/. "$scratch"
! is_root || chown -R postgres: "$scratch"

status=0
as_server env --chdir="$scratch" PATH="$("$pg_config" --bindir):$PATH" PGPORT=65432 TESTDIR="$scratch" \
  PG_REGRESS="$harness/regress/pg_regress" PERL5LIB="$harness/perl" \
  prove --verbose "${tests[@]/#/t/}" 2>&1 | tee "$scratch/log" || status=$?
if [ "$status" -ne 0 ]; then
  tail -n 20 "$scratch"/tmp_check/log/* 2>/dev/null || true
fi

passed=$(grep -c -E '^ok [0-9]' "$scratch/log" || true)
failed=$(grep -c -E '^not ok [0-9]' "$scratch/log" || true)
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
summarise "$passed" "$failed"
