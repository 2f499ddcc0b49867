#!/usr/bin/env bash
# Runs every fuzz test for FUZZTIME, one after the other, and prints the duration and the number of
# executions of each. FUZZ selects tests by a regular expression. Go keeps interesting inputs in its
# cache and failing ones in testdata/fuzz.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
found=0
while IFS=: read -r file name; do
	found=1
	package=./$(dirname "$file")
	echo "== $package $name"
	go test "$package" -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-1m}" </dev/null | tail -n 3 || failed=1
done < <(grep -rhoH --include='*_test.go' '^func Fuzz[A-Za-z]*' . | sed 's/func //; s|^\./||' | grep -E ":.*${FUZZ:-}" | sort)
[ "$found" = 1 ] || { echo "no fuzz test matches $FUZZ" >&2; exit 1; }
exit "$failed"
