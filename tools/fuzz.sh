#!/usr/bin/env bash
# Runs every fuzzer of the project for FUZZTIME, one after the other, and tells how long each ran and how much it
# tried. FUZZ narrows it to those whose names match. Go keeps what it has found interesting in its cache, and what has
# failed below testdata/fuzz.
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
[ "$found" = 1 ] || { echo "no fuzzer has a name like $FUZZ" >&2; exit 1; }
exit "$failed"
