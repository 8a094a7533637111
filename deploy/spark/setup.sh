#!/usr/bin/env bash
# Makes Spark ready to run on this machine: .venv-spark from requirements.lock, some 500 MB. Jobs need no other jars: they read
# and write Parquet, and the platform commits. Needs the Java that deploy/setup.sh installs. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly STAMP=.venv-spark/set-up

# What it was made from, and where: a virtual environment does not survive being moved.
inputs() { { pwd; cat deploy/spark/requirements.lock deploy/spark/setup.sh; } | sha256sum; }

if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(inputs)" ]; then exit 0; fi
echo "Installing PySpark"
.venv/bin/python -m venv --clear .venv-spark
.venv-spark/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/spark/requirements.lock
inputs > "$STAMP" # last: whatever came before is done again after an interruption
