#!/usr/bin/env bash
# Fails if api/openapi.yaml has breaking changes since the document of the last release, in
# api/releases. Deliberate breaking changes are listed in the section Unreleased of CHANGELOG.md,
# one line each, in the form that this prints.
set -euo pipefail
export LC_ALL=C.UTF-8

last_release=$(printf '%s\n' api/releases/*.yaml | sort -V | tail -n 1)
deliberate=$(mktemp)
trap 'rm -f "$deliberate"' EXIT
awk '/^## /{ isUnreleased = /^## Unreleased/ } isUnreleased' CHANGELOG.md >"$deliberate"

# Names that generated clients use for methods, classes and types are part of the contract, too.
if ! found=$(go tool -modfile=tools/oasdiff.mod oasdiff breaking --format singleline --color never --fail-on WARN \
  --severity-levels tools/oasdiff.levels --err-ignore "$deliberate" --warn-ignore "$deliberate" "$last_release" api/openapi.yaml); then
  sed -nE 's/^(error|warning)( at [^,]*)?, in (API )?/- /p' <<<"$found"
  echo "Since ${last_release##*/} the document has breaking changes. Revert them, or list them in CHANGELOG.md, in the section Unreleased."
  exit 1
fi
