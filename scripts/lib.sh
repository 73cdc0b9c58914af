# shellcheck shell=bash
# What the scripts share. Sourced, never run; the caller has `set -euo pipefail` and stands in the project's root.

# The oldest PostgreSQL that the extension builds against.
readonly oldest_postgres=15

say() { printf '==> %s\n' "$*" >&2; }

# die MESSAGE [HINT]: what is wrong, then what to do about it.
die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'hint:  %s\n' "$2" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# as_root COMMAND…: itself when root, else through sudo.
as_root() {
  if is_root; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "'$*' needs the rights of root, and there is no sudo" "run it as root, then try again"
  fi
}

# The installed servers' directories of programs, newest first. Debian keeps one per major version; elsewhere the
# pg_config on the PATH tells.
server_directories() {
  printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort --version-sort --reverse |
    while read -r program; do [ ! -x "$program" ] || dirname "$program"; done
  pg_config --bindir 2>/dev/null || true
}

# The pg_config of the newest server that an extension can be built for: the server's programs and its headers are
# both there. PG_CONFIG overrides it. Answers nothing and fails when there is none.
find_pg_config() {
  if [ -n "${PG_CONFIG:-}" ]; then
    printf '%s\n' "$PG_CONFIG"
    return
  fi
  local directory version
  for directory in $(server_directories); do
    [ -x "$directory/postgres" ] || continue
    [ -x "$directory/pg_config" ] || continue
    version=$("$directory/pg_config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
    [ "$version" -ge "$oldest_postgres" ] || continue
    [ -e "$("$directory/pg_config" --includedir-server)/postgres.h" ] || continue
    [ -e "$("$directory/pg_config" --pgxs)" ] || continue
    printf '%s\n' "$directory/pg_config"
    return
  done
  return 1
}

require_pg_config() {
  find_pg_config ||
    die "no PostgreSQL $oldest_postgres or newer with its server headers was found" "run 'make dependencies'"
}

# The account that a server runs under: PostgreSQL refuses to run as root.
server_account() { if is_root; then echo postgres; else id -un; fi; }

# as_server COMMAND…: under that account.
as_server() {
  if is_root; then runuser -u postgres -- "$@"; else "$@"; fi
}

# fit_schema MODE <LINES: scripts/fit-schema.py by an interpreter that has the validator: Debian's, or another one.
fit_schema() {
  local python
  for python in /usr/bin/python3 python3; do
    ! "$python" -c 'import jsonschema' 2>/dev/null || break
  done
  "$python" scripts/fit-schema.py "$1"
}

# summarise PASSED FAILED: the closing line of every test script, and its exit code.
summarise() {
  printf '%d passed, %d failed\n' "$1" "$2"
  [ "$2" -eq 0 ]
}
