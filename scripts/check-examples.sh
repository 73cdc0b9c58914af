#!/usr/bin/env bash
# Runs every example to its end, as a newcomer would, and looks at what came of it. The program must be built and the
# extension installed (make build install-extension).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${MILLRACE_CLUSTER:-}" ] || exec scripts/with-cluster.sh --tier dispatcher -- scripts/check-examples.sh
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

for product in GreeterExample DefinitionsExample; do
  swift build --quiet --configuration release --product "$product"
done

export MILLRACE_DATABASE_URL=postgresql://$PGUSER@127.0.0.1:$PGPORT/$PGDATABASE
psql --quiet --command='create extension millrace'
output=$(mktemp -d)
agent=
finish() {
  [ -z "$agent" ] || kill "$agent" 2>/dev/null || true
  wait
  rm -rf "$output"
}
trap finish EXIT
passed=0 failed=0

# check TITLE COMMAND…
check() {
  local title=$1
  shift
  if "$@" >"$output/log" 2>&1; then
    printf 'ok      %s\n' "$title"
    passed=$((passed + 1))
  else
    printf 'not ok  %s\n' "$title"
    sed 's/^/        /' "$output/log"
    failed=$((failed + 1))
  fi
}

run() { timeout 300 bin/millrace run "$@"; }

# output_is WORKFLOW KEY JSONPATH: the step's output, in the workflow's latest run, satisfies the predicate.
output_is() {
  psql --no-align --tuples-only --set=workflow="$1" --set=key="$2" --set=path="$3" <<'SQL' | tee /dev/stderr |
select step.output @@ :'path'::jsonpath, step.output
  from millrace.steps as step join millrace.runs as run using (run_id)
 where run.workflow = :'workflow' and step.key = :'key'
 order by run_id desc limit 1
SQL
    grep -q '^t'
}

check "order: runs" run examples/order.yaml
check "order: confirms" output_is order confirm '$ like_regex "^Your parcel MR-.* with 4 pieces"'
check "order: takes an input" run examples/order.yaml \
  --input '{"order_id": 7, "items": [{"name": "lamp", "price": 40, "count": 2}]}'
check "order: charges what the input says" output_is order charge '$.amount == 80'
check "picture: runs" run examples/picture.yaml --input "{\"width\": 120, \"directory\": \"$output/picture\"}"
check "picture: is a picture" cmp --bytes=8 "$output/picture/picture.png" <(printf '\x89PNG\r\n\x1a\n')
check "picture: the report shows all tiles" grep -q '>12 tiles, ' "$output/picture/index.html"

printf '#!/bin/sh\ncat >> "%s"\n' "$output/mailbox" >"$output/sendmail"
chmod +x "$output/sendmail"
check "digest: runs" env SENDMAIL="$output/sendmail" timeout 300 bin/millrace run examples/digest/digest.yaml \
  --input '{"customer": "ada@example.org", "warehouse": "north@example.org"}'
check "digest: groups by recipient" output_is digest paid '$.mailed_with == 2'
check "digest: mails each once" test "$(grep -c '^To: ' "$output/mailbox")" = 2

# start_agent COMMAND…: an example that brings handlers of its own.
start_agent() {
  "$@" >"$output/agent.log" 2>&1 &
  agent=$!
}

# stop_agent HANDLER: it ends well, and has told the database so.
stop_agent() {
  if ! { kill -TERM "$agent" && wait "$agent"; }; then
    cat "$output/agent.log"
    return 1
  fi
  agent=
  [ -z "$(psql -At --set=handler="$1" <<<"select name from millrace.agents where :'handler' = any (handlers)")" ]
}

# Debian's interpreter, for Debian's psycopg; another one that has it will do.
python=$(for candidate in /usr/bin/python3 python3; do
  ! "$candidate" -c 'import psycopg' 2>/dev/null || { echo "$candidate"; break; }
done)
start_agent "${python:-python3}" examples/python/worker.py "$MILLRACE_DATABASE_URL"
check "python: runs its steps" run examples/python/words.yaml
check "python: counts" output_is words total '$.it == 5 && $.of == 6'
check "python: stops when told" stop_agent count_words

start_agent .build/release/GreeterExample
check "greeter: runs its steps" run examples/greeter/greeter.yaml --input '{"name": "Ada"}'
check "greeter: greets, louder" output_is greeter louder '$.text == "HELLO ADA!"'
check "greeter: stops when told" stop_agent greet

start_agent .build/release/DefinitionsExample
check "definitions: are defined by the program" timeout 60 bash -c '
  until bin/millrace graph quote >/dev/null 2>&1; do sleep 0.1; done'
check "definitions: typed steps run" timeout 300 bin/millrace submit quote --input '{"customer": "Ada", "pieces": 4}' --watch
check "definitions: hand on typed values" output_is quote letter '$ == "Dear Ada, that makes 18 EUR."'
check "definitions: stops when told" stop_agent quote.letter

summarise "$passed" "$failed"
