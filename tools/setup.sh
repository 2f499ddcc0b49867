#!/usr/bin/env bash
# Looks for what the project is built and run with: Go, and PostgreSQL's server programs. With the argument
# `test` also for what the tests need, redis-server, and curl and jq (the guides); with `check` moreover for what only
# the checks need: a C compiler (the race detector), Node (the spec linters), Python (the guides) and Chromium (pages that
# talk to the server). With `sdk` it looks for what generated clients are compiled and run with: Node, Python with its
# modules, Java with its jars.
# Packages that are missing are installed with apt by root, or by whom sudo does not ask for a password;
# anyone else is told the one command to run. Where nothing is missing it does nothing, in milliseconds.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

# The same places in which internal/localpg looks.
have_postgres() {
  local bin
  for bin in "${PARLEY_POSTGRES_BIN:-}" "$(dirname "$(command -v postgres || true)")" /usr/lib/postgresql/*/bin; do
    [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && return
  done
  return 1
}

missing=()
look() {
  missing=()
  have_postgres || missing+=(postgresql)
  [ "$1" != run ] || return 0
  [ "$1" != sdk ] || { look_for_clients; return 0; }
  have redis-server || missing+=(redis-server)
  have curl || missing+=(curl)
  have jq || missing+=(jq)
  [ "$1" = check ] || return 0
  have cc || have gcc || missing+=(gcc libc6-dev)
  have npm || missing+=(nodejs npm)
  have python3 || missing+=(python3)
  have chromium || missing+=(chromium)
}

look_for_clients() {
  have npm || missing+=(nodejs npm)
  have javac || missing+=(default-jdk-headless)
  [ -e /usr/share/java/spring3-web.jar ] || missing+=(libspring-web-java)
  [ -e /usr/share/java/gson.jar ] || missing+=(libgoogle-gson-java)
  # The same Pythons that e2e/sdkcheck tries.
  local python
  for python in python3 /usr/bin/python3; do
    ! "$python" -c 'import certifi, dateutil, six, urllib3' 2>/dev/null || return 0
  done
  missing+=(python3-certifi python3-dateutil python3-six python3-urllib3)
}

what=${1:-run}
have go || { echo "Go is missing: install the version that go.mod names from https://go.dev/dl/" >&2; exit 1; }
look "$what"
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -n)
if ! have apt-get; then
  echo "Install with your package manager, then try again: ${missing[*]} (Debian's names)" >&2
  exit 1
elif [ ${#sudo[@]} -gt 0 ] && ! sudo -n true 2>/dev/null; then
  echo "Run this, then try again: sudo apt-get install -y ${missing[*]}" >&2
  exit 1
fi

# Two builds that start together take turns; the second finds the work done.
exec 9<"$0"
flock 9
look "$what"
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq </dev/null >&2 || true # a stale list may still do
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2
look "$what"
[ ${#missing[@]} -eq 0 ] || { echo "installed, but still not found: ${missing[*]}" >&2; exit 1; }
