#!/usr/bin/env bash
# Runs a command against a private, throw-away PostgreSQL cluster, and stops it again however the command ends.
#
#   scripts/with-cluster.sh [--tier plain|dispatcher] [--durable] [--set NAME=VALUE]… [--as-server] [--] COMMAND…
#
#   --tier dispatcher   preload the extension's library (default: plain, no preload)
#   --durable           data is safe on disk at each commit, as in production (default: not, which tests do not need)
#   --set NAME=VALUE    any setting of postgresql.conf
#   --as-server         root runs the command under the server's account
#
# The command finds the server through PGHOST (a socket), PGPORT, PGUSER, PGDATABASE, and on 127.0.0.1:$PGPORT;
# MILLRACE_CLUSTER is the cluster's directory, with the server's log in it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

tier=plain
run_as=()
settings=(fsync=off synchronous_commit=off full_page_writes=off)
while [ $# -gt 0 ]; do
  case $1 in
    --tier) tier=${2:?--tier needs plain or dispatcher}; shift 2 ;;
    --durable) settings+=(fsync=on synchronous_commit=on full_page_writes=on); shift ;;
    --set) settings+=("${2:?--set needs NAME=VALUE}"); shift 2 ;;
    --as-server) run_as=(as_server); shift ;;
    --) shift; break ;;
    -*) die "unknown option '$1'" "$(sed -n '4s/^# *//p' "$0")" ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || die "no command given" "$(sed -n '4s/^# *//p' "$0")"
case $tier in
  plain) ;;
  dispatcher) settings+=(shared_preload_libraries=millrace) ;;
  *) die "unknown tier '$tier'" "it is plain or dispatcher" ;;
esac

bin=$("$(require_pg_config)" --bindir)
cluster=$(mktemp -d "${TMPDIR:-/tmp}/millrace-cluster.XXXXXX")
server=
command=

is_running() { [ -n "$server" ] && kill -0 "$server" 2>/dev/null; }

# Fast shutdown; after ten seconds no more patience, for the data are thrown away.
stop_server() {
  local beats=0
  ! is_running || kill -INT "$server" 2>/dev/null || true
  while is_running; do
    beats=$((beats + 1))
    [ "$beats" -ne 200 ] || kill -QUIT "$server" 2>/dev/null || true
    sleep 0.05
  done
  rm -rf "$cluster"
}
trap stop_server EXIT

# A signal ends the command first (it may still need the server), then this script with the usual exit code.
interrupted() {
  trap '' INT TERM HUP
  if [ -n "$command" ]; then
    kill -TERM "$command" 2>/dev/null || true
    wait "$command" 2>/dev/null || true
  fi
  exit $((128 + $1))
}
trap 'interrupted 1' HUP
trap 'interrupted 2' INT
trap 'interrupted 15' TERM

! is_root || chown postgres: "$cluster"
chmod 0711 "$cluster"

as_server "$bin/initdb" --pgdata="$cluster/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
  --no-sync --no-instructions >"$cluster/initdb.log" 2>&1 || { cat "$cluster/initdb.log" >&2; die "initdb failed"; }

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The server is this script's child and gets the signal of a fast shutdown when its parent dies, even by SIGKILL.
start_server() {
  local arguments=(-D "$cluster/data" -p "$1" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$cluster")
  local setting account=()
  for setting in "${settings[@]}"; do arguments+=(-c "$setting"); done
  ! is_root || account=(--reuid=postgres --regid=postgres --init-groups)
  (cd / && exec setpriv "${account[@]}" --pdeathsig INT -- "$bin/postgres" "${arguments[@]}") \
    >>"$cluster/server.log" 2>&1 </dev/null &
  server=$!
  until "$bin/pg_isready" --quiet --host="$cluster" --port="$1"; do
    is_running || return 1
    sleep 0.05
  done
}

# Another process may take a free port first: then try the next one.
for attempt in 1 2 3 4 5 6 7 8; do
  port=$((20000 + RANDOM % 12000))
  ! port_is_taken "$port" || continue
  ! start_server "$port" || break
  server=
  if [ "$attempt" -eq 8 ] || ! grep -q 'could not bind' "$cluster/server.log"; then
    cat "$cluster/server.log" >&2
    die "the server did not start"
  fi
done
[ -n "$server" ] || die "no free port was found between 20000 and 32000"

export PGHOST=$cluster PGPORT=$port PGUSER=postgres PGDATABASE=postgres MILLRACE_CLUSTER=$cluster
unset PGPASSWORD PGSERVICE PGOPTIONS

# In the background, so that a signal to this script is answered at once; its standard input stays what it was.
"${run_as[@]}" "$@" <&0 &
command=$!
wait "$command"
