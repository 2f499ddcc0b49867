#!/usr/bin/env bash
# Fails unless gen/ equals the output of `make generate`. It generates into a temporary directory
# and does not change the work tree.
set -euo pipefail

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy"/tools "$copy"/gen/{openapi,client,db}
cp -r Makefile go.mod go.sum sqlc.yaml api db "$copy"
cp tools/go.mod tools/go.sum "$copy/tools"
make -s -C "$copy" generate >&2

if ! diff -ru gen "$copy/gen"; then
  echo "gen/ is out of date: run make generate" >&2
  exit 1
fi

# Untracked files would be missing from other checkouts.
untracked=$(git ls-files --others gen 2>/dev/null || true)
if [ -n "$untracked" ]; then
  printf 'generated but not added to git:\n%s\n' "$untracked" >&2
  exit 1
fi
