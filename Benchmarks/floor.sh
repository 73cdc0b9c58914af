#!/usr/bin/env bash
# What plain PL/pgSQL of the engine's shape gives on this machine, in this minute (floor.sql).
#
#   Benchmarks/floor.sh [--shape single|chain:N|diamond:N] [--steps N] [--clients N] [--json]
#
#   --steps     steps in all (default: 100000), claimed and completed 200 at a time
#   --clients   sessions that claim and complete (default: 4)
#
# Its seconds are those of its own records: the submits, then first claim to last completion.
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
shape=chain:10 steps=100000 clients=4 batch=200 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --shape) shape=${2:?}; shift 2 ;;
    --steps) steps=${2:?}; shift 2 ;;
    --clients) clients=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
own_server "${arguments[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/drain.sql" <<SQL
with c as materialized (select array_agg(run_id) a, array_agg(no) b from floor.claim($batch))
select floor.complete(a, b) from c where a is not null;
SQL

sql postgres --command='drop database if exists floor with (force)' --command='create database floor' \
  --command='alter database floor set search_path = floor' 2>/dev/null
sql floor --file=Benchmarks/floor.sql 2>/dev/null
per_run=$(sql floor --set=shape="$shape" <<<"select floor.define(:'shape')")
runs=$((steps / per_run))
sql floor --command='vacuum analyze'

counters() {
  sql floor --field-separator=' ' --command="
    select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), tup_inserted + tup_updated + tup_deleted
      from pg_stat_database where datname = 'floor'"
}

read -r wal_before writes_before < <(counters)
# a hundred transactions, as the other side submits 200 runs at a time
for ((part = 0; part < 100; part++)); do
  echo "select floor.submit(:'shape', $((runs * (part + 1) / 100 - runs * part / 100)));"
done | sql floor --set=shape="$shape" >/dev/null
# a few rounds more than needed, for claims that come back short
pgbench --no-vacuum --protocol=prepared --file="$work/drain.sql" --client="$clients" \
  --transactions=$((steps * 11 / (batch * clients * 10) + 20)) floor >"$work/log" 2>&1 || { cat "$work/log" >&2; die "pgbench failed"; }
read -r wal_after writes_after < <(counters)

figures=$(sql floor --set=shape="$shape" --set=wal=$((wal_after - wal_before)) --set=writes=$((writes_after - writes_before)) <<'SQL'
select json_build_object('shape', :'shape', 'runs', (select count(*) from floor.run), 'steps', steps,
  'seconds', seconds, 'steps_per_second', steps / seconds,
  'writes_per_step', :writes::float8 / steps, 'wal_bytes_per_step', :wal::float8 / steps)
from (select count(*) filter (where state = 3) as steps,
        extract(epoch from max(finished_at) - min(started_at)
          + (select max(created_at) - min(created_at) from floor.run))::float8 as seconds
      from floor.step) as drained
SQL
)
if [ "$json" = true ]; then
  printf '%s\n' "$figures"
else
  sql floor --set=figures="$figures" <<'SQL'
select format('%s: %s steps in %s s: %s steps/s, %s row writes and %s bytes of log a step',
  f->>'shape', f->>'steps', round((f->>'seconds')::numeric, 2), round((f->>'steps_per_second')::numeric),
  round((f->>'writes_per_step')::numeric, 1), round((f->>'wal_bytes_per_step')::numeric))
from (select :'figures'::json) as v (f)
SQL
fi
