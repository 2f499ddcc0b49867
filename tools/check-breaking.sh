#!/usr/bin/env bash
# Fails when api/openapi.yaml breaks callers of the last release's document, in api/releases. What is broken on purpose
# stands in the section Unreleased of CHANGELOG.md, one line each, as this prints it.
set -euo pipefail
export LC_ALL=C.UTF-8

last=$(printf '%s\n' api/releases/*.yaml | sort -V | tail -n 1)
deliberate=$(mktemp)
trap 'rm -f "$deliberate"' EXIT
awk '/^## /{ isUnreleased = /^## Unreleased/ } isUnreleased' CHANGELOG.md >"$deliberate"

# Beyond what breaks requests and answers: what generated clients call their methods, classes and types by.
if ! found=$(go tool -modfile=tools/oasdiff.mod oasdiff breaking --format singleline --color never --fail-on WARN \
  --severity-levels tools/oasdiff.levels --err-ignore "$deliberate" --warn-ignore "$deliberate" "$last" api/openapi.yaml); then
  sed -nE 's/^(error|warning)( at [^,]*)?, in (API )?/- /p' <<<"$found"
  echo "Since ${last##*/} the document breaks its callers. Mend it, or say so in CHANGELOG.md, in Unreleased."
  exit 1
fi
