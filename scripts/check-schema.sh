#!/usr/bin/env bash
# Looks whether the published schema of definitions says what the engine says: the same keys at each place, and all
# examples fit, but none with a key that does not exist. (The definitions of the regression tests are looked at where
# they run, in check-extension.sh.) The program must be built and the extension installed.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${MILLRACE_CLUSTER:-}" ] || exec scripts/with-cluster.sh --tier plain -- scripts/check-schema.sh
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
passed=0 failed=0

# check TITLE MODE <LINES
check() {
  local problems
  if problems=$(fit_schema "$2"); then
    printf 'ok      %s\n' "$1"
    passed=$((passed + 1))
  else
    printf 'not ok  %s\n%s\n' "$1" "$problems"
    failed=$((failed + 1))
  fi
}

answer() { psql --no-align --tuples-only --quiet --command="$1"; }

answer 'create extension millrace'
export MILLRACE_DATABASE_URL=postgresql://$PGUSER@127.0.0.1:$PGPORT/$PGDATABASE
for example in examples/*.yaml examples/*/*.yaml; do bin/millrace define "$example" >/dev/null; done

check "schema: the engine's keys" keys < <(
  answer "select jsonb_build_object('place', place[1], 'keys', millrace_internal.definition_keys(place[1]))
            from pg_proc, regexp_matches(prosrc, 'WHEN ''(\w+)'' THEN', 'g') as place
           where oid = 'millrace_internal.definition_keys'::regproc"
)
check "schema: examples fit" definitions < <(answer 'select definition from millrace.workflows')
check "schema: a key that does not exist fits nowhere" misspelt < <(answer 'select definition from millrace.workflows')
check "schema: the program prints it" definitions < <(
  bin/millrace schema | cmp - Sources/Millrace/Resources/definition.schema.json >&2 &&
    answer 'select definition from millrace.workflows limit 1'
)
summarise "$passed" "$failed"
