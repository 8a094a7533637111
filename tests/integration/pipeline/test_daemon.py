"""The whole pipeline under Dagster's own daemon and sensors, as `lakehouse demo` runs it, and by hand afterwards."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
import pytest

from dagster_project.assets.partitions import partition_name
from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.services import cache, kafka
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.telemetry.sink import FILE
from dagster_project.telemetry.spans import ENDPOINT
from tests.collector import Collector, collecting
from tests.integration.lake import Lake, environment, lakehouse

EVENTS = 20_000
DEMO = ("demo", "--dataset", "orders", "--events", str(EVENTS), "--json")
COUNTS = {
    "offsets",
    "bronze_rows",
    "silver_rows",
    "superseded",
    "quarantined",
    "tombstones",
    "gaps",
    "lost",
    "pending",
    "unaccounted",
}
KEYS = COUNTS | {
    *("dataset", "gold_rows", "gold_stale", "unproven_gaps", "accounted", "problems"),
    *("latency_p50_s", "latency_p95_s", "events_per_s", "produced", "seconds"),
}

# Two demos, each with the start of Dagster's processes.
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A home in which the demo ran twice."""

    lake: Lake
    settings: Settings
    first: subprocess.CompletedProcess[str]
    gold_after_first: pl.DataFrame
    second: subprocess.CompletedProcess[str]
    collector: Collector

    def told(self, process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    def table(self, layer: str) -> Table:
        return self.lake.tables()[f"{layer}/{'revenue_daily' if layer == 'gold' else 'orders'}"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo") / "home"
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    variables = environment(home=home)
    try:
        with collecting() as collector:
            first = lakehouse(DEMO, {**variables, ENDPOINT: collector.url})
        assert first.returncode == 0, first.stderr
        catalog = load_catalog(REPOSITORY / "contracts")
        servers = kafka.bootstrap_servers(settings)
        storage = Storage.at(settings.lake_uri)
        lake = Lake(catalog=catalog, dataset=catalog.dataset("orders"), servers=servers, storage=storage, home=home)
        gold = sorted_gold(lake)
        second = lakehouse(DEMO, variables)
        yield Demo(lake=lake, settings=settings, first=first, gold_after_first=gold, second=second, collector=collector)
    finally:
        kafka.down(settings)
        cache.down(settings)


@pytest.fixture(scope="module")
def instance(demo: Demo) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(demo.settings.dagster_home)) as found:
        yield found


@pytest.fixture(scope="module")
def definitions(demo: Demo) -> dg.Definitions:
    settings = Settings(
        home=demo.settings.home,
        project=demo.settings.project,
        lake_uri=demo.settings.lake_uri,
        bootstrap_servers=demo.lake.servers,
    )
    return build(demo.lake.catalog, settings)


def sorted_gold(lake: Lake) -> pl.DataFrame:
    return lake.gold("revenue_daily").sort("event_date", "region", "currency")


def sorted_silver(lake: Lake) -> pl.DataFrame:
    return lake.silver().sort("order_id")


def rows_by_partition(table: Table) -> dict[str, int]:
    """Rows by Dagster's name of each table partition; poison has none."""
    counts = table.rows().filter(pl.col("event_date").is_not_null()).group_by(specs.KEYS).len().collect()
    return {partition_name(Key(date, region)): count for date, region, count in counts.iter_rows()}


def told_rows(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> object:
    """The row count that the newest materialization of a partition tells."""
    newest = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
    )
    materialization = newest.records[0].asset_materialization
    assert materialization is not None
    return materialization.metadata["dagster/partition_row_count"].value


def test_the_demo_ends_with_every_offset_accounted_for(demo: Demo) -> None:
    told = demo.told(demo.first)

    assert told.keys() >= KEYS
    assert told["accounted"] is True
    assert (told["produced"], told["bronze_rows"]) == (EVENTS, EVENTS)
    assert told["offsets"] == EVENTS + told["gaps"]
    assert told["offsets"] == told["silver_rows"] + told["superseded"] + told["quarantined"] + told["gaps"]
    assert 0 < told["latency_p50_s"] <= told["latency_p95_s"]


def test_a_second_demo_adds_and_changes_nothing(demo: Demo) -> None:
    first, second = demo.told(demo.first), demo.told(demo.second)

    assert second["produced"] == 0
    assert {name: second[name] for name in COUNTS} == {name: first[name] for name in COUNTS}
    assert sorted_gold(demo.lake).equals(demo.gold_after_first)


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_dagster_knows_exactly_the_partitions_of_the_table(
    demo: Demo, instance: dg.DagsterInstance, layer: str
) -> None:
    table = demo.table(layer)
    key = dg.AssetKey([layer, table.spec.name])
    rows = rows_by_partition(table)

    assert rows
    assert instance.get_materialized_partitions(key) == set(rows)
    assert {partition: told_rows(instance, key, partition) for partition in rows} == rows


def test_no_run_failed(demo: Demo, instance: dg.DagsterInstance) -> None:
    assert demo.second.returncode == 0
    runs = instance.get_runs()

    assert {run.job_name for run in runs} >= {"ingest_orders"}
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}


@pytest.mark.parametrize("check", ["merge_key_unique", "rule_pass_rate"])
def test_each_silver_run_was_checked(demo: Demo, instance: dg.DagsterInstance, check: str) -> None:
    key = dg.AssetCheckKey(dg.AssetKey(["silver", demo.lake.dataset.name]), check)
    evaluation = instance.get_latest_asset_check_evaluation_record(key)

    assert evaluation is not None
    assert evaluation.evaluation is not None
    assert evaluation.evaluation.passed


def test_freshness_is_told_of_each_region(
    demo: Demo, instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    # Ticked here: the daemon does so every 30 seconds, which may be longer than the demo takes.
    with dg.build_sensor_context(
        instance=instance, repository_def=definitions.get_repository_def(), resources=definitions.resources
    ) as context:
        told = definitions.resolve_sensor_def("freshness").evaluate_tick(context)

    checks = [event for event in told.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
    assert {event.check_name for event in checks} == {f"freshness_{region}" for region in demo.lake.dataset.regions}
    # The demo's orders are of June 2026: none is an hour old at the most.
    assert not any(event.passed for event in checks)


def test_the_accounting_check_passes_by_hand(
    demo: Demo, instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    result = definitions.resolve_job_def("verify_orders").execute_in_process(instance=instance)

    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    told = demo.told(demo.first)
    assert {name: evaluation.metadata[name].value for name in ("offsets", "silver_rows", "unaccounted")} == {
        name: told[name] for name in ("offsets", "silver_rows", "unaccounted")
    }


def test_one_partition_by_hand_changes_no_data(
    demo: Demo, instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    silver, gold = sorted_silver(demo.lake), sorted_gold(demo.lake)
    partition = min(rows_by_partition(demo.table("silver")))

    result = definitions.resolve_job_def("refine_orders").execute_in_process(instance=instance, partition_key=partition)

    assert result.success
    assert {event.partition for event in result.get_asset_materialization_events()} == {partition}
    assert sorted_silver(demo.lake).equals(silver)
    assert sorted_gold(demo.lake).equals(gold)


def test_a_range_by_hand_changes_no_data(demo: Demo, instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
    silver, gold = sorted_silver(demo.lake), sorted_gold(demo.lake)
    dates = sorted({name.partition("|")[0] for name in rows_by_partition(demo.table("silver"))})
    regions = demo.lake.dataset.regions
    tags = {
        "dagster/asset_partition_range_start": f"{dates[0]}|{regions[0]}",
        "dagster/asset_partition_range_end": f"{dates[-1]}|{regions[-1]}",
    }

    result = definitions.resolve_job_def("refine_orders").execute_in_process(instance=instance, tags=tags)

    assert result.success
    told = {event.partition for event in result.asset_materializations_for_node("silver__orders")}
    assert told == {f"{date}|{region}" for date in dates for region in regions}
    assert sorted_silver(demo.lake).equals(silver)
    assert sorted_gold(demo.lake).equals(gold)


def test_each_commit_of_the_runs_is_a_line_in_the_file_and_in_dagsters_logs(
    demo: Demo, instance: dg.DagsterInstance
) -> None:
    texts = (demo.settings.home / "logs" / FILE).read_text().splitlines()
    lines = [json.loads(text) for text in texts]
    for layer, rows in (("bronze", len(demo.lake.bronze())), ("silver", len(demo.lake.silver()))):
        own = [line for line in lines if line["layer"] == layer]
        assert {line["table"] for line in own} == {"orders"}
        assert len({line["version"] for line in own}) == len(own)
        if layer == "bronze":
            assert sum(line["rows_out"] for line in own) == rows
            assert own[-1]["lag"] == 0
            assert sum(line["poison"] for line in own) == demo.lake.bronze()["_error"].drop_nulls().len()
    run_ids = {line["run_id"] for line in lines}
    assert run_ids <= {run.run_id for run in instance.get_runs()}
    captured = b"".join(path.read_bytes() for path in (demo.settings.dagster_home / "storage").rglob("*.err"))
    assert all(text.encode() in captured for text in texts)
    for row in demo.lake.silver().head(50).iter_rows(named=True):
        assert row["order_id"] not in "\n".join(texts)


def test_spans_of_the_forked_runs_have_arrived_when_they_have_ended(demo: Demo) -> None:
    spans = demo.collector.spans
    names = {span.name for span in spans}
    assert names >= {"run", "ingest.fetch", "ingest.decode", "ingest.commit", "silver.gate", "gold.recompute"}
    lines = [json.loads(text) for text in (demo.settings.home / "logs" / FILE).read_text().splitlines()]
    traced = [line for line in lines if uuid.UUID(line["run_id"]).hex in {span.trace for span in spans}]
    # The trace of a run has its id: each batch that was committed while spans were collected has its own span there.
    committed = {(span.trace, span.attributes["lakehouse.version"]) for span in spans if span.name == "ingest.commit"}
    assert committed
    assert committed == {
        (uuid.UUID(line["run_id"]).hex, line["version"]) for line in traced if line["layer"] == "bronze"
    }
    roots = {span.id: span for span in spans if span.name == "run"}
    assert all(span.parent in roots for span in spans if span.name.startswith("ingest."))
