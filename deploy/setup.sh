#!/usr/bin/env bash
# Makes this folder ready to run: .venv from requirements.lock, Java, Maven, the jars of Apache Kafka, and promtool.
# Needs Python 3.11 or newer; installs missing Debian packages where it may, and names them where it may not.
# Run it as often as you like: it goes on where it was interrupted, and does nothing when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly UV_VERSION=0.13.9
readonly STAMP=.venv/set-up

say() { printf '%s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# What set-up was made from, and where: a virtual environment does not survive being moved.
inputs() { { pwd; cat requirements.lock pyproject.toml deploy/kafka/pom.xml deploy/setup.sh; } | sha256sum; }

is_done() {
  [ -f "$STAMP" ] && [ -x .venv/bin/lakehouse ] && [ -f deploy/kafka/target/libs/resolved ] &&
    [ "$(cat "$STAMP")" = "$(inputs)" ]
}

# Install Debian packages as root or with a sudo that asks for no password; otherwise say which are missing.
install() {
  local sudo=()
  if ! command -v apt-get > /dev/null; then fail "missing: $*; install them (these are Debian's names)"; fi
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2> /dev/null || fail "missing: $*; install them: sudo apt-get install $*"
    sudo=(sudo -n)
  fi
  say "Installing $*"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null ||
    fail "apt-get could not install $*"
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }

# python3.11 first: the version that requirements.lock was made with.
find_python() {
  if [ -n "${PYTHON:-}" ]; then
    is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer"
    say "$PYTHON"
    return
  fi
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3; do
    if is_new_enough "$candidate"; then say "$candidate"; return; fi
  done
  fail "no Python 3.11 or newer on the PATH; install python3, or set PYTHON to one"
}

# The oldest Java that Debian's release has and Kafka can use.
java_package() {
  local version
  for version in 17 21 25; do
    if apt-cache show "openjdk-$version-jre-headless" > /dev/null 2>&1; then break; fi
    version=17
  done
  say "openjdk-$version-jre-headless"
}

# All missing packages at once. The project's own search for Java needs no library.
install_packages() {
  local missing=()
  "$PYTHON" -c 'import ensurepip' 2> /dev/null ||
    missing+=("$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
  "$PYTHON" -c 'from dagster_project.services.java import find_java; find_java()' 2> /dev/null ||
    missing+=("$(java_package)")
  command -v mvn > /dev/null || missing+=(maven)
  # A cache with TLS, for tests; the one of the Python libraries has none. This package starts no server.
  command -v redis-check-rdb valkey-server valkey-check-rdb > /dev/null || missing+=(redis-tools)
  if [ ${#missing[@]} -gt 0 ]; then install "${missing[@]}"; fi
}

make_venv() {
  # Half made, or moved here from elsewhere: begin anew.
  if .venv/bin/python -m pip --version > /dev/null 2>&1 && grep -qsF "$PWD/.venv/bin/" .venv/bin/pip; then return; fi
  say "Making .venv with $("$PYTHON" --version)"
  "$PYTHON" -m venv --clear .venv
}

install_libraries() {
  # uv does not read pip's settings.
  local index=${PIP_INDEX_URL:-$(.venv/bin/pip config get global.index-url 2> /dev/null || true)}
  if [ -n "$index" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}; fi
  local certificates=${PIP_CERT:-$(.venv/bin/pip config get global.cert 2> /dev/null || true)}
  if [ -n "$certificates" ]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$certificates}; fi
  say "Installing Python libraries"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
  .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
}

# What tests the alert rules of Prometheus: one program of Debian's package, which as a whole would start a server.
fetch_promtool() {
  local target=deploy/observability/target
  if command -v promtool > /dev/null || [ -x "$target/promtool" ]; then return; fi
  say "Fetching promtool (19 MB)"
  mkdir -p "$target"
  if (cd "$target" && apt-get download -qq prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb |
    tar -x --strip-components=3 ./usr/bin/promtool) > /dev/null 2>&1; then
    rm -f "$target"/prometheus_*.deb
  else
    say "There is none; the test of the alert rules is skipped"
  fi
}

if is_done; then exit 0; fi
PYTHON=$(find_python)
install_packages
make_venv
install_libraries
.venv/bin/python -m dagster_project.services.java
fetch_promtool
say "Compiling the scanners of records and JSON"
.venv/bin/python -m dagster_project.ingest.warm
inputs > "$STAMP" # last: whatever came before is done again after an interruption
say "Ready: .venv/bin/lakehouse --help"
