#!/usr/bin/env bash
# Makes the peers of the benchmark ready to run: .venv-bench from requirements.lock, and Spark's jars for Kafka and Delta.
# Needs what deploy/setup.sh installs; some 600 MB. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly HERE=benchmarks/peers
readonly STAMP=.venv-bench/set-up

# What it was made from, and where: a virtual environment does not survive being moved.
inputs() { { pwd; cat $HERE/requirements.lock $HERE/spark/pom.xml $HERE/setup.sh; } | sha256sum; }

if [ -f "$STAMP" ] && [ -d $HERE/spark/target/libs ] && [ "$(cat "$STAMP")" = "$(inputs)" ]; then exit 0; fi
echo "Installing the peers' Python libraries"
.venv/bin/python -m venv --clear .venv-bench
.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $HERE/requirements.lock
echo "Fetching Spark's jars for Kafka and Delta with Maven"
rm -rf $HERE/spark/target
mvn --quiet --batch-mode --strict-checksums -f $HERE/spark/pom.xml dependency:copy-dependencies
inputs > "$STAMP" # last: whatever came before is done again after an interruption
