"""What the checks and the command say of objectives."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.checks import slo as checks
from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors import slo as sensors
from dagster_project.settings import Settings
from dagster_project.slo.status import status
from tests.unit.lakes import Lake, reading


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def test_the_sensor_measures_and_tells_verdicts_when_they_change(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.arrive(reading(0))
    lake.refine()
    sensor = sensors.slo_sensor(lake.catalog)
    resources = {
        "lake": LakeResource(uri=lake.storage.uri),
        "kafka": KafkaResource(servers="127.0.0.1:1"),
        "cache": CacheResource(home=lake.storage.uri, uri=lake.storage.uri),
    }
    # Of a broker that is not there the client's own time-out would be waited for.
    monkeypatch.setattr("dagster_project.slo.lag.survey", refused)

    def told(cursor: str | None) -> tuple[dict[str, bool], str]:
        found = sensor(dg.build_sensor_context(instance, cursor=cursor, resources=resources))
        assert isinstance(found, dg.SensorResult)
        assert not found.run_requests
        assert found.cursor is not None
        events = [event for event in found.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        return {
            f"{event.asset_key.to_user_string()} {event.check_name}": event.passed for event in events
        }, found.cursor

    said, cursor = told(None)
    assert said == {
        "bronze/readings slo_lag_records": True,
        "bronze/readings slo_lag_seconds": False,
        "silver/readings slo_freshness": False,
        "silver/readings slo_availability": False,
    }
    assert told(cursor)[0] == {}
    turned = {name: [True, when] for name, (_, when) in json.loads(cursor).items()}
    assert set(told(json.dumps(turned))[0]) == {name for name, passed in said.items() if not passed}
    monkeypatch.setattr(sensors, "_REPEAT_S", -1.0)
    assert told(cursor)[0] == said


def refused(*_: object) -> None:
    from dagster_project.errors import KafkaError

    raise KafkaError("no answer")


def measured(lake: Lake, *, ago_s: float = 30, **regions: tuple[int, int]) -> None:
    """Good and bad moments of freshness, by region, half a minute ago."""
    spec = specs.measurements()
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago_s)
    rows = [
        {"at": at, "dataset": "readings", "region": region, "objective": "freshness", "value": 7.0, "bound": 3600.0,
         "good": good, "bad": bad, "event_date": at.date()}
        for region, (good, bad) in regions.items()
    ]  # fmt: skip
    Table.open(spec, storage=lake.storage).commit(pl.DataFrame(rows, schema=dict(spec.schema)), cursors={})


@pytest.mark.parametrize(("us", "passed"), [((100, 0), True), ((1000, 5), True), ((100, 50), False)])
def test_a_check_is_as_red_as_its_worst_region(lake: Lake, us: tuple[int, int], passed: bool) -> None:
    measured(lake, eu=(100, 0), us=us)
    found = status(lake.catalog, storage=lake.storage, now=dt.datetime.now(dt.UTC))
    (evaluation,) = checks.evaluate(lake.dataset, found)
    assert (evaluation.check_name, evaluation.passed) == ("slo_freshness", passed)
    assert evaluation.metadata["value"].value == 7.0
    assert evaluation.metadata["bound"].value == 3600.0
    assert evaluation.metadata["budget_left"].value == pytest.approx(1 - us[1] / sum(us) / 0.01)
    assert evaluation.metadata["burn_1h"].value == pytest.approx(us[1] / sum(us) / 0.01)
    table = evaluation.metadata["regions"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [(record.data["region"], record.data["bad"]) for record in table.records] == [("eu", 0), ("us", us[1])]


def test_every_verdict_has_its_check_among_the_definitions(lake: Lake, tmp_path: Path) -> None:
    measured(lake, eu=(1, 0))
    settings = Settings(home=tmp_path, project=tmp_path, lake_uri=lake.storage.uri, bootstrap_servers="")
    repository = build(lake.catalog, settings).get_repository_def()
    keys = repository.asset_checks_defs_by_key.keys()
    for spec in checks.specs(lake.dataset):
        assert spec.key in keys
    for evaluation in checks.evaluate(
        lake.dataset, status(lake.catalog, storage=lake.storage, now=dt.datetime.now(dt.UTC))
    ):
        assert dg.AssetCheckKey(evaluation.asset_key, evaluation.check_name or "") in keys
    selected = repository.get_job("ingest_readings").asset_layer.asset_graph.asset_check_keys
    assert not {key for key in selected if key.name.startswith("slo_")}


def test_the_command_says_what_burns_and_exits_with_1(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    from dagster_project.cli.output import console
    from dagster_project.cli.slo import slo

    folder = lake.dataset.source.parent
    settings = Settings(home=folder, project=folder, lake_uri=lake.storage.uri, bootstrap_servers="")
    monkeypatch.setattr(Settings, "from_environment", lambda: settings)
    monkeypatch.setattr(Settings, "contracts", folder)
    monkeypatch.setattr(console, "width", 200)
    slo()
    assert "nothing was measured yet" in capsys.readouterr().out
    measured(lake, eu=(100, 0), us=(1000, 5), ago_s=310)
    slo(None, as_json=True)
    eu, us = json.loads(capsys.readouterr().out)
    assert (eu["region"], eu["good"], eu["bad"], eu["burning"]) == ("eu", 100, 0, False)
    assert us["budget_left"] == pytest.approx(1 - 5 / 1005 / 0.01)
    measured(lake, eu=(0, 200))
    with pytest.raises(typer.Exit) as ended:
        slo("readings")
    assert ended.value.exit_code == 1
    text = capsys.readouterr().out
    assert re.search(r"readings +│ freshness +│ eu .* burning", text)
    assert re.search(r"readings +│ freshness +│ us .* 50.2 % .* kept", text)
