#!/usr/bin/env bash
# Builds the program as bin/millrace. What an earlier try left behind, and cannot be built on, is thrown away and made
# anew: half a clone where it was killed, or what was compiled in another place or by another compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

# One configuration for the program and its tests: two would compile every package twice.
build=(swift build --configuration release --product millrace)
readonly stale_words='module cache path|compiled module was created by|has been modified since|malformed|disk image|disk I/O'

if [ -e .build ] && [ ! -w .build ]; then
  die ".build belongs to another user" "remove it (sudo rm -rf .build), or build as $(stat -c %U .build)"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! swift package resolve 2>&1 | tee "$log"; then
  # The package manager locks a directory by a file outside it, which root may have left behind.
  lock=$(sed -n 's/^error: invalid access to //p' "$log")
  [ -z "$lock" ] || die "another user has built here, and left $lock" "remove it (sudo rm $lock)"
  say "fetching the packages failed: once more, from the beginning"
  rm -rf .build/repositories .build/checkouts .build/workspace-state.json
  swift package purge-cache
  swift package resolve
fi

if ! "${build[@]}" 2>&1 | tee "$log"; then
  grep -q -E "$stale_words" "$log" || exit 1
  say "what was built before is of no use here: once more, from the beginning"
  rm -rf .build/*-*-* .build/release .build/build.db
  "${build[@]}"
fi
mkdir -p bin
ln -sfn ../.build/release/millrace bin/millrace
