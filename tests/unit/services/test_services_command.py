"""`lakehouse up`, `down` and `status`, where no broker is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.settings import REPOSITORY

# Each takes longer to import than a command like `status` takes to run.
HEAVY = {"confluent_kafka", "dagster", "deltalake", "duckdb", "pandas", "polars", "pyarrow"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(REPOSITORY))
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("command", ["status", "down"])
def test_json_is_all_that_is_on_stdout(command: str) -> None:
    result = run(command, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "kafka": {"bootstrap_servers": "", "managed": True, "cluster_id": "", "brokers": []}
    }


def test_a_person_is_told_how_to_begin() -> None:
    assert run("status").stdout == "Kafka: never started; run `lakehouse up`\n"


def test_an_expected_failure_is_a_message_and_no_traceback() -> None:
    result = run("up", "--brokers", "2")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error: --brokers 2\n  expected: 1 or 3\n"


def test_the_command_starts_without_the_heavy_libraries() -> None:
    script = "import sys, dagster_project.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert HEAVY.isdisjoint(loaded)
