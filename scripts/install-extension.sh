#!/usr/bin/env bash
# Builds the extension for the newest server (PG_CONFIG=path for another) and installs it, through sudo when not root.
# Does nothing, and asks for no rights, when the very same files are installed already.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

pg_config=$(require_pg_config)
make --silent -C extension PG_CONFIG="$pg_config"

library=$("$pg_config" --pkglibdir)
scripts=$("$pg_config" --sharedir)/extension
is_installed() {
  cmp --silent extension/millrace.so "$library/millrace.so" || return 1
  local file
  for file in extension/millrace.control extension/millrace--*.sql; do
    cmp --silent "$file" "$scripts/$(basename "$file")" || return 1
  done
}

if is_installed; then
  say "the extension is installed already for $("$pg_config" --version)"
else
  say "installing the extension for $("$pg_config" --version)"
  as_root make --silent -C "$PWD/extension" install PG_CONFIG="$pg_config"
fi
