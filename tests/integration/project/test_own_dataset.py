"""A user's own project: a dataset and a mart from two contracts, an SQL file and some messages; no Python."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import COMMAND_PATIENCE, environment, lakehouse, unique

# `allowedLateness` and the service levels are left to their defaults.
DATASET = """
apiVersion: v3.2.0
kind: DataContract
id: readings
name: Meter readings
version: 1.0.0
status: active
domain: energy
description: {purpose: What each meter showed.}
servers:
  - server: kafka
    type: kafka
    environment: prod
    host: kafka:9092
    format: json
    customProperties:
      - {property: partitions, value: 2}
schema:
  - name: readings
    physicalName: TOPIC
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: measured_at}
      - {property: startDate, value: "2025-03-01"}
      - {property: writeMode, value: append}
    properties:
      - {name: meter, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: measured_at, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 2}
      - name: site
        logicalType: string
        required: true
        partitioned: true
        partitionKeyPosition: 1
        enum: [{value: north}, {value: south}]
      - {name: kwh, logicalType: number, physicalType: "decimal(9, 3)", required: true, logicalTypeOptions: {minimum: 0}}
team: {name: energy-data}
"""
MART = """
apiVersion: v3.2.0
kind: DataContract
id: usage_daily
name: Usage by day and site
version: 1.0.0
status: active
domain: energy
schema:
  - name: usage_daily
    physicalType: table
    logicalType: object
    customProperties:
      - {property: inputs, value: [readings]}
      - {property: partitionedBy, value: [event_date, region]}
    properties:
      - {name: event_date, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: region, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: meters, logicalType: integer, required: true}
      - {name: kwh, logicalType: number, physicalType: "decimal(18, 3)", required: true}
team: {name: energy-data}
"""
SQL = """
SELECT event_date, region, count(DISTINCT meter) AS meters, sum(kwh) AS kwh
FROM silver.readings
GROUP BY event_date, region
"""
MESSAGES = """
{"meter": "m-1", "measured_at": "2025-03-01T10:00:00Z", "site": "north", "kwh": 1.25}
{"meter": "m-2", "measured_at": "2025-03-01T23:59:59.999999Z", "site": "north", "kwh": 2.125}
{"meter": "m-1", "measured_at": "2025-03-02T10:00:00+02:00", "site": "north", "kwh": 0}
{"meter": "m-3", "measured_at": "2025-03-02T10:00:00Z", "site": "south", "kwh": 7}
{"meter": "m-3", "measured_at": "2025-03-02T10:00:00Z", "site": "south", "kwh": 7}
{"meter": "m-4", "measured_at": "2025-03-02T10:00:00Z", "site": "south", "kwh": -1}
{"meter": "m-5", "measured_at": "2025-03-02T10:00:00Z", "site": "moon", "kwh": 1}
{"meter": "m-6", "measured_at": "2024-01-01T10:00:00Z", "site": "south", "kwh": 1}
this is no JSON
"""
# By day and site: meters and energy, as a person adds them up.
USAGE = [
    {"event_date": "2025-03-01", "region": "north", "meters": 2, "kwh": "3.375"},
    {"event_date": "2025-03-02", "region": "north", "meters": 1, "kwh": "0.000"},
    {"event_date": "2025-03-02", "region": "south", "meters": 1, "kwh": "7.000"},
]
USAGE_QUERY = "FROM gold.usage_daily ORDER BY event_date, region"


@dataclass(frozen=True, kw_only=True)
class Project:
    """The folder, the command's variables, and what Dagster makes of it."""

    settings: Settings
    variables: dict[str, str]
    definitions: dg.Definitions

    def run(self, *arguments: str) -> str:
        done = lakehouse(arguments, self.variables)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture(scope="module")
def project(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Topics applied and messages sent; nothing in the lake yet."""
    root = tmp_path_factory.mktemp("own-project")
    marts = root / "contracts" / "marts"
    marts.mkdir(parents=True)
    (root / "contracts" / "readings.odcs.yaml").write_text(DATASET.replace("TOPIC", unique("energy.readings.v1")))
    (marts / "usage_daily.odcs.yaml").write_text(MART)
    (marts / "usage_daily.sql").write_text(SQL)
    (root / "messages.ndjson").write_text(MESSAGES)
    home = root / "home"
    settings = Settings(home=home, project=root, lake_uri=str(home / "lake"), bootstrap_servers=broker)
    variables = environment(home=home, project=root, servers=broker)
    made = Project(
        settings=settings, variables=variables, definitions=build(load_catalog(settings.contracts), settings)
    )
    assert "create" in made.run("topics", "apply")
    made.run("topics", "check")
    told = json.loads(made.run("produce", "file", "readings", "--from", str(root / "messages.ndjson"), "--json"))
    assert told["produced"] == len(MESSAGES.split("\n")) - 2
    return made


def tick(project: Project, sensor: str, instance: dg.DagsterInstance) -> SensorExecutionData:
    definitions = project.definitions
    with dg.build_sensor_context(
        instance=instance, repository_def=definitions.get_repository_def(), resources=definitions.resources
    ) as context:
        return definitions.resolve_sensor_def(sensor).evaluate_tick(context)


def launch(project: Project, request: dg.RunRequest, instance: dg.DagsterInstance) -> None:
    assert request.job_name
    job = project.definitions.resolve_job_def(request.job_name)
    assert job.execute_in_process(instance=instance, tags=request.tags, partition_key=request.partition_key).success


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What the sensors asked for, and what they said when that was done."""

    project: Project
    asked: dict[str, list[dg.RunRequest]]
    rested: dict[str, str | None]


@pytest.fixture(scope="module")
def filled(project: Project, instance: dg.DagsterInstance) -> Filled:
    asked: dict[str, list[dg.RunRequest]] = {}
    rested: dict[str, str | None] = {}
    for sensor in ("kafka_lag", "bronze_changes"):
        asked[sensor] = list(tick(project, sensor, instance).run_requests or ())
        for request in asked[sensor]:
            launch(project, request, instance)
        after = tick(project, sensor, instance)
        assert not after.run_requests
        rested[sensor] = after.skip_message
    return Filled(project=project, asked=asked, rested=rested)


def test_dagster_shows_all_that_follows_from_the_contracts(project: Project) -> None:
    definitions = project.definitions
    graph = definitions.resolve_asset_graph()

    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        *("kafka/readings", "bronze/readings", "dlq/readings", "silver/readings", "gold/usage_daily"),
        *("expiry/readings", "upkeep/bronze_readings", "upkeep/ledger_readings", "upkeep/silver_readings"),
        *("upkeep/quarantine_readings", "upkeep/gold_usage_daily"),
        *("serving/usage_daily", "upkeep/ops_alerts", "upkeep/ops_costs", "upkeep/ops_measurements"),
    }
    assert {key.name for key in graph.asset_check_keys} >= {
        "merge_key_unique",
        "rule_pass_rate",
        "every_offset_accounted_for",
    }
    assert {key.name for key in graph.asset_check_keys} >= {"freshness_north", "freshness_south"}
    assert {sensor.name for sensor in definitions.sensors or ()} >= {"kafka_lag", "bronze_changes"}
    partitions = graph.get(dg.AssetKey(["silver", "readings"])).partitions_def
    assert partitions is not None
    names = partitions.get_partition_keys()
    assert names[0] == "2025-03-01|north"
    assert f"{dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)}|south" in names


def test_dagster_validates_the_project_without_a_warning(project: Project, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").touch()  # else Dagster warns that there is none
    variables = {**project.variables, "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(REPOSITORY / "workspace.yaml")]
    done = subprocess.run(
        command, env=variables, cwd=REPOSITORY, capture_output=True, text=True, timeout=COMMAND_PATIENCE, check=False
    )
    output = done.stdout + done.stderr

    assert done.returncode == 0, output
    warnings = [line for line in output.splitlines() if re.search("warning", line, re.IGNORECASE)]
    # Dagster's own announcements: features that may still change, and of this very command that it has a successor.
    assert [line for line in warnings if not re.search("BetaWarning|PreviewWarning|SupersessionWarning", line)] == []
    assert "ERROR" not in output


def test_the_sensors_ask_for_what_there_is_to_do_and_then_rest(filled: Filled) -> None:
    assert [request.job_name for request in filled.asked["kafka_lag"]] == ["ingest_readings"]
    assert filled.rested["kafka_lag"] == "readings: no lag"

    requests = filled.asked["bronze_changes"]
    assert {request.job_name for request in requests} == {"refine_readings"}
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    # None of them covers a table partition that holds nothing.
    assert {(request.tags[start], request.tags[end]) for request in requests} == {
        ("2025-03-01|north", "2025-03-01|north"),
        ("2025-03-02|north", "2025-03-02|south"),
    }
    assert filled.rested["bronze_changes"] == "everything is current"


@pytest.mark.parametrize("asset", ["bronze/readings", "silver/readings", "gold/usage_daily"])
@pytest.mark.usefixtures("filled")
def test_dagster_knows_the_partitions_that_were_filled(instance: dg.DagsterInstance, asset: str) -> None:
    wanted = {"2025-03-01|north", "2025-03-02|north", "2025-03-02|south"}
    assert instance.get_materialized_partitions(dg.AssetKey(asset.split("/"))) == wanted


def test_query_answers_in_three_forms(filled: Filled) -> None:
    as_json = json.loads(filled.project.run("query", USAGE_QUERY, "--json"))
    as_csv = list(csv.DictReader(io.StringIO(filled.project.run("query", USAGE_QUERY, "--csv"))))
    table = filled.project.run("query", USAGE_QUERY)

    assert as_json == USAGE
    assert as_csv == [{name: str(value) for name, value in row.items()} for row in USAGE]
    assert all(text in table for text in ("event_date", "2025-03-01", "3.375", "3 rows"))


def test_what_was_held_back_says_why(filled: Filled) -> None:
    held = json.loads(
        filled.project.run("query", "SELECT stage, reasons FROM quarantine.readings ORDER BY ALL", "--json")
    )

    assert [row["stage"] for row in held] == ["decode", "decode", "decode", "gate"]
    reasons = [reason for row in held for reason in row["reasons"]]
    for wanted in ("payload.json", "site.enum", "measured_at.horizon", "kwh.minimum"):
        assert sum(reason.startswith(wanted) for reason in reasons) == 1, reasons


def test_verify_accounts_for_every_message(filled: Filled) -> None:
    (found,) = json.loads(filled.project.run("verify", "--json"))

    assert found["accounted"] is True
    assert found["offsets"] == 9 + found["gaps"]
    assert (found["silver_rows"], found["superseded"], found["quarantined"]) == (4, 1, 4)
    assert (found["pending"], found["unaccounted"], found["gold_rows"], found["gold_stale"]) == (0, 0, 3, 0)
