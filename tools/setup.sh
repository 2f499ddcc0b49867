#!/usr/bin/env bash
# Checks that the tools of the project are installed, and installs missing ones. The argument
# selects the tools:
#   (none)  Go and the PostgreSQL server programs, to build and run
#   test    also redis-server, pgbouncer, curl and jq, for the tests and the guides
#   check   also a C compiler (race detector), Node (linters), Python (guides) and Chromium (browser)
#   sdk     Node, Python with its modules and Java with its jars, to compile and run generated clients
# Missing packages are installed with apt, as root or with passwordless sudo. Otherwise the command
# to run is printed. If nothing is missing, the script finishes within milliseconds.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

# Searches the same directories as internal/localpg.
have_postgres() {
  local bin
  for bin in "${PARLEY_POSTGRES_BIN:-}" "$(dirname "$(command -v postgres || true)")" /usr/lib/postgresql/*/bin; do
    [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && return
  done
  return 1
}

missing=()
find_missing() {
  missing=()
  have_postgres || missing+=(postgresql)
  [ "$1" != run ] || return 0
  [ "$1" != sdk ] || { find_missing_sdk_tools; return 0; }
  have redis-server || missing+=(redis-server)
  have pgbouncer || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
  have curl || missing+=(curl)
  have jq || missing+=(jq)
  [ "$1" = check ] || return 0
  have cc || have gcc || missing+=(gcc libc6-dev)
  have npm || missing+=(nodejs npm)
  have python3 || missing+=(python3)
  have chromium || missing+=(chromium)
}

find_missing_sdk_tools() {
  have npm || missing+=(nodejs npm)
  have javac || missing+=(default-jdk-headless)
  [ -e /usr/share/java/spring3-web.jar ] || missing+=(libspring-web-java)
  [ -e /usr/share/java/gson.jar ] || missing+=(libgoogle-gson-java)
  # The same interpreters that e2e/sdkcheck tries.
  local python
  for python in python3 /usr/bin/python3; do
    ! "$python" -c 'import certifi, dateutil, six, urllib3' 2>/dev/null || return 0
  done
  missing+=(python3-certifi python3-dateutil python3-six python3-urllib3)
}

target=${1:-run}
have go || { echo "Go is not installed: install the version in go.mod from https://go.dev/dl/" >&2; exit 1; }
find_missing "$target"
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -n)
if ! have apt-get; then
  echo "Install these packages with your package manager, then retry (names as in Debian): ${missing[*]}" >&2
  exit 1
elif [ ${#sudo[@]} -gt 0 ] && ! sudo -n true 2>/dev/null; then
  echo "Run this, then retry: sudo apt-get install -y ${missing[*]}" >&2
  exit 1
fi

# Concurrent runs take turns; the second finds the packages installed.
exec 9<"$0"
flock 9
find_missing "$target"
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq </dev/null >&2 || true # An outdated package list may be sufficient.
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2
find_missing "$target"
[ ${#missing[@]} -eq 0 ] || { echo "installed but not found: ${missing[*]}" >&2; exit 1; }
