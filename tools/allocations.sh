#!/usr/bin/env bash
# What the hot functions allocate: runs every benchmark whose name begins with BenchmarkHot a fixed number of times
# and holds allocations and bytes per operation against internal/allocations.txt, which unlike times are the same
# on a busy machine. `allocations.sh write` writes that file.
set -euo pipefail
kept=internal/allocations.txt
measured=$(mktemp)
trap 'rm -f "$measured"' EXIT

packages=$(grep -rl --include='*_test.go' '^func BenchmarkHot' . | xargs -n1 dirname | sort -u)
# On one processor: each has pools of its own, which must fill first. Warm-ups are spread over the thousand.
if ! told=$(go test -run '^$' -bench '^BenchmarkHot' -benchmem -benchtime 1000x -cpu 1 $packages); then
  echo "$told"
  exit 1
fi
awk '
  $1 == "pkg:" { sub(/^[^\/]*\//, "", $2); package = $2 }
  /^BenchmarkHot/ {
    for (i = 2; i < NF; i++) { if ($(i+1) == "allocs/op") allocs = $i; if ($(i+1) == "B/op") bytes = $i }
    printf "%-20s %-24s %6d %8d\n", package, $1, allocs, bytes
  }' <<<"$told" | LC_ALL=C sort >"$measured"

head='# package            benchmark                allocs/op   B/op   (make allocations writes this)'
if [ "${1:-}" = write ]; then
  { echo "$head"; cat "$measured"; } >"$kept"
  exit
fi

# Worse is more than a fifth and more than one allocation, or 64 bytes, above what is kept: less may be a pool that
# the collector has emptied.
awk -v kept="$kept" '
  function worse(now, before, slack) { return now > before * 1.2 && now > before + slack }
  /^#/ { next }
  FILENAME == kept { allocs[$1 " " $2] = $3; bytes[$1 " " $2] = $4; next }
  {
    name = $1 " " $2
    if (!(name in allocs)) { print name ": it is not in " kept " (make allocations)"; bad = 1; next }
    if (worse($3, allocs[name], 1)) { print name ": " $3 " allocations an operation, " allocs[name] " before"; bad = 1 }
    if (worse($4, bytes[name], 64)) { print name ": " $4 " bytes an operation, " bytes[name] " before"; bad = 1 }
    if (worse(allocs[name], $3, 1) || worse(bytes[name], $4, 64)) print name ": better than " kept " says; make allocations keeps it so"
    delete allocs[name]
    n++
  }
  END {
    for (name in allocs) { print name ": it is in " kept ", but was not run"; bad = 1 }
    if (bad) print "A hot function allocates more, or is not watched. Mend it, or say in the commit why it must be so: make allocations."
    else print n " hot functions allocate no more than " kept " says"
    exit bad
  }' "$kept" "$measured"
