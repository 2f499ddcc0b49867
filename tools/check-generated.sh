#!/usr/bin/env bash
# Fails unless gen/ holds exactly what `make generate` makes of its sources. It generates into a temporary directory and
# changes nothing in the work tree.
set -euo pipefail

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy"/tools "$copy"/gen/{openapi,client,db}
cp -r Makefile go.mod go.sum sqlc.yaml api db "$copy"
cp tools/go.mod tools/go.sum "$copy/tools"
make -s -C "$copy" generate >&2

if ! diff -ru gen "$copy/gen"; then
  echo "gen/ is not what its sources make: run make generate" >&2
  exit 1
fi

# Files that are not in git would be missing from other checkouts.
untracked=$(git ls-files --others gen 2>/dev/null || true)
if [ -n "$untracked" ]; then
  printf 'generated, but not added to git:\n%s\n' "$untracked" >&2
  exit 1
fi
