#!/usr/bin/env bash
# Runs every benchmark whose name begins with BenchmarkHot a fixed number of times and compares its
# allocations and bytes per operation with internal/allocations.txt. Unlike times, they do not
# depend on the load of the machine. `allocations.sh write` updates the file.
set -euo pipefail
baseline=internal/allocations.txt
measured=$(mktemp)
trap 'rm -f "$measured"' EXIT

packages=$(grep -rl --include='*_test.go' '^func BenchmarkHot' . | xargs -n1 dirname | sort -u)
# One processor, because each has its own pools, which are filled first. The cost of the warm-up is
# spread over 1000 runs.
if ! output=$(go test -run '^$' -bench '^BenchmarkHot' -benchmem -benchtime 1000x -cpu 1 $packages); then
  echo "$output"
  exit 1
fi
awk '
  $1 == "pkg:" { sub(/^[^\/]*\//, "", $2); package = $2 }
  /^BenchmarkHot/ {
    for (i = 2; i < NF; i++) { if ($(i+1) == "allocs/op") allocs = $i; if ($(i+1) == "B/op") bytes = $i }
    printf "%-20s %-24s %6d %8d\n", package, $1, allocs, bytes
  }' <<<"$output" | LC_ALL=C sort >"$measured"

head='# package            benchmark                allocs/op   B/op   (make allocations writes this)'
if [ "${1:-}" = write ]; then
  { echo "$head"; cat "$measured"; } >"$baseline"
  exit
fi

# Worse means above the baseline by more than a fifth and by more than one allocation, or 64 bytes:
# a pool that the garbage collector has emptied can cause smaller differences.
awk -v baseline="$baseline" '
  function worse(now, before, slack) { return now > before * 1.2 && now > before + slack }
  /^#/ { next }
  FILENAME == baseline { allocs[$1 " " $2] = $3; bytes[$1 " " $2] = $4; next }
  {
    name = $1 " " $2
    if (!(name in allocs)) { print name ": not in " baseline " (run make allocations)"; bad = 1; next }
    if (worse($3, allocs[name], 1)) { print name ": " $3 " allocations per operation, baseline " allocs[name]; bad = 1 }
    if (worse($4, bytes[name], 64)) { print name ": " $4 " bytes per operation, baseline " bytes[name]; bad = 1 }
    if (worse(allocs[name], $3, 1) || worse(bytes[name], $4, 64)) print name ": better than " baseline "; run make allocations to update it"
    delete allocs[name]
    n++
  }
  END {
    for (name in allocs) { print name ": in " baseline ", but was not run"; bad = 1 }
    if (bad) print "A hot function allocates more, or has no baseline. Fix it, or explain it in the commit and run make allocations."
    else print n " hot functions allocate no more than " baseline
    exit bad
  }' "$baseline" "$measured"
