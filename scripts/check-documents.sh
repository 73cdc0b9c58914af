#!/usr/bin/env bash
# Looks whether the documents and the code agree: every error code that the extension raises is in docs/errors.md, and
# every code there is raised; every column of a view that a test pins is in docs/sql-reference.md; what the
# documents of the language link to is there, and each feature that is compared with other engines names a test.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
passed=0 failed=0

# agree TITLE LEFT RIGHT: two lists, one word a line.
agree() {
  local difference
  if difference=$(diff <(sort -u <<<"$2") <(sort -u <<<"$3")); then
    printf 'ok      %s\n' "$1"
    passed=$((passed + 1))
  else
    printf 'FAILED  %s\n%s\n' "$1" "$difference"
    failed=$((failed + 1))
  fi
}

# MR000 never leaves the function that raises it.
raised=$({
  grep -rhoE "\bMR[0-9]{3}\b" sql/logic
  sed -nE "s/.*MAKE_SQLSTATE\('M', 'R', '(.)', '(.)', '(.)'\).*/MR\1\2\3/p" extension/src/error_codes.h
} | grep -v MR000)
listed=$(sed -nE 's/^\| (MR[0-9]{3}) \|.*/\1/p' docs/errors.md)
agree "error codes: raised and listed" "$raised" "$listed"

# The columns as extension/test/expected/questions.out pins them: " view | column, column".
columns_of_tests=$(sed -nE 's/^ ([a-z_]+) +\| ([a-z_]+(, [a-z_]+)+) *$/\1 \2/p' extension/test/expected/questions.out | tr -d ',')
columns_of_docs=$(sed -nE 's/^\| `([a-z_]+)` \| `([a-z_]+(, [a-z_]+)+)` \|$/\1 \2/p' docs/sql-reference.md | tr -d ',')
# Their order in the text is free.
by_view() { awk '{ view = $1; for (i = 2; i <= NF; i++) print view "." $i }'; }
agree "views: columns and their table" "$(by_view <<<"$columns_of_tests")" "$(by_view <<<"$columns_of_docs")"

# Links to files of the project: [text](../extension/test/sql/rules.sql), [text](errors.md#codes).
missing=$(for document in docs/language.md docs/importing.md; do
  grep -oE '\]\([^)#: ]+[)#]' "$document" | sed -E 's/^..(.*).$/\1/' | sort -u | while read -r link; do
    [ -e "docs/$link" ] || printf '%s links to %s\n' "$document" "$link"
  done
done)
agree "links: what the documents of the language name" "" "$missing"

# Rows of the comparison with other engines: each names a test.
untested=$(sed -n '/^## Beside other engines/,/^Sources/p' docs/language.md | grep -E '^\| [^-w]' | grep -vE '\]\(\.\./(extension/test|Tests|scripts)/' || true)
agree "features beside other engines: each has its test" "" "$untested"

# Rows of what importers carry over: each names tests that exist.
unknown=$(grep -E '^\| .* \| `[a-zA-Z`, ]+` \|$' docs/importing.md | sed -E 's/.*\| (`[^|]*) \|$/\1/' | grep -oE '[a-zA-Z]+' | sort -u | while read -r name; do
  grep -rqE "func $name\(" Tests/MillraceTests/Import || printf 'no test is called %s\n' "$name"
done)
rows=$(sed -n '/^## WfFormat/,/^## dbt/p' docs/importing.md | grep -E '^\| ' | grep -vE '\| test \|$|\| `[a-zA-Z`, ]+` \|$' || true)
agree "what importers carry over: each part has its test" "" "$unknown$rows"

summarise "$passed" "$failed"
