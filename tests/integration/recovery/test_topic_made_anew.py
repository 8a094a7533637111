"""A topic that was deleted and made anew: the old tables move away, the new topic is read from its start."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from dagster_project.cli.main import app
from dagster_project.contract.loader import load_catalog
from dagster_project.errors import TopicIdentityError
from dagster_project.lake import retire
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY
from dagster_project.sources.orders import Orders
from dagster_project.topics.broker import Broker
from tests.integration.lake import PATIENCE, Lake, unique

EVENTS = 500
LAYERS = {"gold/revenue_daily", "silver/orders", "quarantine/orders", "bronze/orders"}


class CrashError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Everything in Gold of a topic that is then deleted and made anew."""
    (tmp_path / "contracts" / "marts").mkdir(parents=True)
    for name in ("orders.odcs.yaml", "marts/revenue_daily.odcs.yaml", "marts/revenue_daily.sql"):
        shutil.copy(REPOSITORY / "contracts" / name, tmp_path / "contracts" / name)
    contract = tmp_path / "contracts" / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("commerce.orders.v1", unique("commerce.orders.v1")))
    root = str(tmp_path / "lake") if request.param == "local" else f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"
    variables = {
        "LAKEHOUSE_HOME": tmp_path,
        "LAKEHOUSE_PROJECT": tmp_path,
        "LAKEHOUSE_URI": root,
        "KAFKA_BOOTSTRAP_SERVERS": broker,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    catalog = load_catalog(tmp_path / "contracts")
    dataset = catalog.dataset("orders")
    lake = Lake(catalog=catalog, dataset=dataset, servers=broker, storage=Storage.at(root), home=tmp_path)
    lake.create_topic()
    fill(lake, seed=0)
    return lake


def fill(lake: Lake, seed: int) -> None:
    lake.produce(Orders(dataset=lake.dataset, events=EVENTS, seed=seed))
    lake.ingest()
    lake.refine()
    lake.compute()


def make_anew(lake: Lake) -> None:
    name = lake.dataset.topic.name
    before = Broker(lake.servers).topic(name).topic_id
    admin = AdminClient({"bootstrap.servers": lake.servers})
    admin.delete_topics([name])[name].result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while (found := Broker(lake.servers).topics([name]).get(name)) is None or found.topic_id == before:
        assert time.monotonic() < deadline
        if found is None:
            lake.create_topic()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_new_topic_is_read_from_its_start_and_the_old_rows_stay_readable(lake: Lake) -> None:
    cursor = Broker(lake.servers).topic(lake.dataset.topic.name)
    old = {name: table.rows().collect().height for name, table in lake.tables().items()}
    make_anew(lake)
    with pytest.raises(TopicIdentityError, match="lakehouse retire"):
        lake.ingest()
    told = json.loads(run("lag", "--dataset", "orders", "--json").stdout)
    assert told["state"] == "lost"
    assert "lakehouse retire orders" in told["to_do"]

    done = run("retire", "orders", "--yes", "--json")

    assert done.exit_code == 0, done.output
    moved = json.loads(done.stdout)["moved"]
    assert LAYERS & old.keys() <= moved.keys()
    for name, uri in moved.items():
        assert uri == f"{lake.storage.uri}/retired/{cursor.cluster_id}/{cursor.topic_id}/{name}"
        if name in old:
            rows = pl.read_delta(uri, storage_options=dict(lake.storage.options) or None)
            assert len(rows) == old[name]
    assert lake.tables() == {}
    fill(lake, seed=1)
    found = lake.account()
    assert found.accounted, found.problems
    assert found.bronze_rows == EVENTS
    assert not found.gold_stale
    assert run("lag", "--dataset", "orders").exit_code == 0


@pytest.mark.parametrize("moves", range(4))
def test_a_retirement_that_broke_off_is_finished_by_the_next(
    lake: Lake, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_anew(lake)
    real, calls = retire._delete, []

    def some(*arguments: object) -> None:
        if len(calls) == moves:
            raise CrashError
        calls.append(arguments)
        real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(retire, "_delete", some)
        assert isinstance(run("retire", "orders", "--yes").exception, CrashError)

    done = run("retire", "orders", "--yes")
    assert done.exit_code == 0, done.output
    assert lake.tables() == {}
    fill(lake, seed=1)
    assert lake.account().accounted


def test_a_topic_that_is_the_same_is_not_retired(lake: Lake) -> None:
    done = run("retire", "orders", "--yes")
    assert done.exit_code == 1
    assert lake.bronze().height == EVENTS


def test_what_silver_lacks_is_refined_first(lake: Lake) -> None:
    lake.produce(Orders(dataset=lake.dataset, events=EVENTS, seed=2))
    lake.ingest()
    make_anew(lake)

    assert run("retire", "orders", "--yes").exit_code == 1
    assert lake.bronze().height == 2 * EVENTS
    lake.refine()
    lake.compute()
    assert run("retire", "orders", "--yes").exit_code == 0
