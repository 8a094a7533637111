"""Messages that name their schema, with a real broker and a real registry."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest
from click.testing import Result
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Column, DataType, Format
from dagster_project.errors import ContractError, RegistryError
from dagster_project.lake.specs import POISON
from dagster_project.lake.storage import Storage
from dagster_project.refine.recover import backfill
from dagster_project.registry.schemas import Registered, Registry
from dagster_project.services import keeper
from dagster_project.services import registry as service
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.sources import oracle
from dagster_project.sources.encoding import encoder_of
from dagster_project.sources.orders import Orders
from tests.integration.lake import COMMAND_PATIENCE, PATIENCE, Lake, places, unique

EVENTS = 1_500
Found = TypeVar("Found")
UNKNOWN_ID = 1_000_000


@pytest.fixture(scope="module", params=["json", "avro"])
def written(request: pytest.FixtureRequest) -> Format:
    return request.param


@pytest.fixture
def lake(make_wired: Callable[[Format], Lake], written: Format) -> Lake:
    return make_wired(written)


def orders(lake: Lake, events: int = EVENTS) -> Orders:
    return Orders(dataset=lake.dataset, events=events, seed=11, duplicates=0.05, late=0.03, poison=0.02)


def send(lake: Lake, values: Iterable[bytes]) -> None:
    producer = Producer({"bootstrap.servers": lake.servers, "linger.ms": 5})
    for value in values:
        producer.produce(lake.dataset.topic.name, value=value, partition=0)
    assert producer.flush(PATIENCE) == 0


def header(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big")


def row_of(value: dict[str, Any]) -> dict[str, Any]:
    times = {name: dt.datetime.fromisoformat(value[name]) for name in ("ordered_at", "event_time")}
    return {**value, **times, "note": value.get("note"), "event_date": times["ordered_at"].date()}


def until(look: Callable[[], Found | None]) -> Found:
    deadline = time.monotonic() + COMMAND_PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def errors(lake: Lake) -> list[str | None]:
    return lake.bronze().sort("_kafka_partition", "_kafka_offset")["_error"].to_list()


def test_silver_is_the_oracle_and_every_offset_is_accounted_for(lake: Lake) -> None:
    published = lake.produce(orders(lake))
    expected = oracle.expected(oracle.read(published.oracle))
    assert min(expected.counts[outcome] for outcome in ("silver", "superseded", "duplicate", "decode", "gate")) > 0
    lake.ingest()
    lake.refine()
    lake.compute()

    names = [*(column.name for column in lake.dataset.columns), "event_date"]
    found = {row["order_id"]: {name: row[name] for name in names} for row in lake.silver().iter_rows(named=True)}
    wanted = {key: row_of(record.value) for key, record in expected.rows.items() if record.value is not None}
    assert found.keys() == wanted.keys()
    assert {key: (found[key], row) for key, row in wanted.items() if found[key] != row} == {}
    assert places(lake.quarantine()) == expected.places("gate")
    bronze = lake.bronze()
    assert places(bronze.filter(pl.col("_kind") == POISON)) == expected.places("decode")
    # As received: the header is there, and an account that decodes all of it again finds nothing wrong.
    assert bronze["_payload"].bin.starts_with(b"\x00").all()
    account = lake.account()
    assert (account.problems, account.unaccounted, account.accounted) == ((), 0, True)


def test_what_names_no_schema_an_unknown_one_or_one_that_does_not_fit_is_poison(
    lake: Lake, written: Format, registry: str
) -> None:
    if written == "avro":
        other = {"type": "record", "name": "other", "fields": [{"name": "order_id", "type": "int"}]}
    else:
        other = {"type": "object", "properties": {"order_id": {"type": "integer"}}}
    kinds = {
        "AVRO": '{"type": "string"}',
        "JSON": '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}',
    }
    kind = "JSON" if written == "avro" else "AVRO"
    with SchemaRegistryClient({"url": registry}) as client:
        misfit = client.register_schema(f"{lake.dataset.topic.name}-other", Schema(json.dumps(other), written.upper()))
        misread = client.register_schema(f"{lake.dataset.topic.name}-kind", Schema(kinds[kind], kind))
    good = lake.produce(orders(lake, 20)).produced
    broken = [b"", b"\x00\x00", b'{"order_id": "a"}', header(UNKNOWN_ID) + b"x", header(2**32 - 1), header(misfit), header(misread)]  # fmt: skip
    send(lake, broken)
    lake.ingest()

    rows = lake.bronze()
    assert len(rows) == good + len(broken)
    held = rows.filter(pl.col("_payload").is_in(broken)).sort("_kafka_offset")
    assert held["_payload"].to_list() == broken
    assert (held["_kind"] == POISON).all()
    reasons = held["_error"].to_list()
    assert [reason.partition(":")[0] for reason in reasons] == [
        *["payload.wire"] * 3, *["schema.unknown"] * 2, *["schema.incompatible"] * 2,
    ]  # fmt: skip
    assert reasons[3] == f"schema.unknown: id {UNKNOWN_ID} is not in the registry"
    assert reasons[5] is not None
    assert ("ordered_at: not in it" if written == "avro" else "order_id: found integer") in reasons[5]
    assert lake.account().problems == ()


def test_without_its_registry_a_run_fails_and_the_next_one_goes_on(make_wired: Callable[[Format], Lake]) -> None:
    lake = make_wired("avro")
    assert lake.produce(orders(lake, 200)).produced == 200
    nowhere = replace(lake, registry="http://127.0.0.1:9/apis/ccompat/v7")

    with pytest.raises(RegistryError, match=r"the schema registry at http://127\.0\.0\.1:9"):
        nowhere.ingest()
    assert "bronze/orders" not in lake.tables() or lake.bronze().is_empty()
    (batch,) = lake.ingest()

    assert batch.events + batch.poison == 200
    assert lake.account().problems == ()


def test_another_server_at_the_registrys_address_poisons_nothing(
    make_wired: Callable[[Format], Lake], registry: str
) -> None:
    lake = make_wired("avro")
    lake.produce(orders(lake, 50))

    with pytest.raises(RegistryError, match="SCHEMA_REGISTRY_URL"):
        replace(lake, registry=registry.replace("ccompat", "no-such-api")).ingest()


def test_a_schema_is_registered_once_and_checked_in_both_directions_from_then_on(lake: Lake, registry: str) -> None:
    client = Registry(registry)
    first = client.register(lake.dataset)
    assert (first.new, first.version, first.compatibility) == (True, 1, "FULL_TRANSITIVE")
    assert Registry(registry).register(lake.dataset) == replace(first, new=False)
    with SchemaRegistryClient({"url": registry}) as other:
        assert other.get_compatibility(lake.dataset.topic.subject) == "FULL_TRANSITIVE"
    needed = replace(lake.dataset, columns=(*lake.dataset.columns, Column(name="till", type=DataType(kind="string"), required=True)))  # fmt: skip

    with pytest.raises(ContractError, match=r"orders\.odcs\.yaml: .*-value: .*ncompatible"):
        client.register(needed)


def test_schemas_outlive_the_registrys_process(registry_settings: Settings, registry: str) -> None:
    dataset = load_catalog(REPOSITORY / "contracts").dataset("flights")
    registered = Registry(registry).register(dataset)
    service.down(registry_settings)
    with pytest.raises(RegistryError):
        Registry(registry).schema(registered.schema_id)

    service.up(registry_settings, report=print)

    assert service.registry_url(registry_settings) == registry
    assert Registry(registry).register(dataset) == replace(registered, new=False)


def test_a_registry_that_dies_is_started_again_and_one_that_was_stopped_is_not(
    registry_settings: Settings, registry: str, tmp_path: Path
) -> None:
    book, known = tmp_path / "supervisor.log", registering(registry)
    assert known is not None
    known = replace(known, new=False)
    before = service.status(registry_settings).pid
    assert before is not None
    with keeper.kept(registry_settings, book=book):
        os.kill(before, signal.SIGKILL)
        until(lambda: service.status(registry_settings).pid not in (before, None))
        # At the same address, and with what it knew.
        assert until(lambda: registering(registry)) == known
        assert service.registry_url(registry_settings) == registry
        service.down(registry_settings)
        time.sleep(3.0)  # several looks of the keeper
        assert service.status(registry_settings).pid is None
    assert "schema registry: it has died; starting it again" in book.read_text()
    service.up(registry_settings, report=print)
    assert service.registry_url(registry_settings) == registry


def registering(url: str) -> Registered | None:
    try:
        return Registry(url).register(load_catalog(REPOSITORY / "contracts").dataset("flights"))
    except RegistryError:
        return None


def test_writers_and_readers_of_two_versions_read_each_other(make_wired: Callable[[Format], Lake]) -> None:
    first = make_wired("avro")
    channel = Column(name="channel", type=DataType(kind="string"))
    second = replace(
        first,
        dataset=replace(first.dataset, version="1.1.0", columns=(*first.dataset.columns, channel)),
        storage=Storage.at(str(first.home / "second")),
    )
    old, new = encoder_of(first.dataset, registry=first.registry), encoder_of(second.dataset, registry=first.registry)
    texts = [json.loads(event.value) for event in orders(first, 40) if event.kind == "valid"]
    send(first, [old(json.dumps(text).encode()) for text in texts[:10]])
    send(first, [new(json.dumps({**text, "channel": "web"}).encode()) for text in texts[10:20]])
    assert old(b"")[:5] != new(b"")[:5]

    for lake, unknown in ((first, {"channel": 10}), (second, {})):
        (batch,) = lake.ingest()
        assert (batch.events, batch.poison, batch.unknown) == (20, 0, unknown)

    by_offset = [lake.bronze().sort("_kafka_offset") for lake in (first, second)]
    assert [rows["order_id"].to_list() for rows in by_offset] == [[text["order_id"] for text in texts[:20]]] * 2
    assert "channel" not in by_offset[0].columns
    assert by_offset[1]["channel"].to_list() == [None] * 10 + ["web"] * 10

    # What the first contract did not know was kept, and fills the column once it does.
    assert by_offset[0]["_rescued"].to_list() == [None] * 10 + ['{"channel": "web"}'] * 10
    first.refine()
    waiting = first.silver()["_rescued"].count()
    assert waiting > 0
    richer = replace(first, dataset=second.dataset)
    assert sum(backfill(richer.dataset, storage=richer.storage).values()) == waiting
    second.refine()
    names = ["order_id", "channel", "_rescued"]
    assert richer.silver().select(names).sort("order_id").equals(second.silver().select(names).sort("order_id"))
    account = richer.account()
    assert (account.problems, account.accounted) == ((), True)


def test_the_command_registers_a_contracts_schema_and_says_what_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    (tmp_path / "contracts").mkdir()
    text = (REPOSITORY / "contracts" / "orders.odcs.yaml").read_text()
    topic = unique("orders")
    avro = text.replace("format: json", "format: avro").replace(
        "physicalName: commerce.orders.v1", f"physicalName: {topic}"
    )
    (tmp_path / "contracts" / "orders.odcs.yaml").write_text(avro)
    (tmp_path / "contracts" / "flights.odcs.yaml").write_text(
        (REPOSITORY / "contracts" / "flights.odcs.yaml").read_text()
    )
    for name, value in {"HOME": tmp_path / "home", "PROJECT": tmp_path}.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", str(value))
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry)

    def register(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["contract", "register", *arguments])

    said = json.loads(register("orders", "--json").stdout)
    assert {**said, "schema_id": 0} == {
        "dataset": "orders", "subject": f"{topic}-value", "schema_id": 0, "version": 1, "compatibility": "FULL_TRANSITIVE", "new": True, "changes": [],
    }  # fmt: skip
    again = register("orders")
    assert again.stdout == f"{topic}-value version 1, id {said['schema_id']}: was registered before, FULL_TRANSITIVE\n"
    plain = register("flights")
    assert (plain.exit_code, "messages of flights name no schema" in plain.stderr) == (1, True)
    # Another type of a column goes with no message that was written before.
    (tmp_path / "contracts" / "orders.odcs.yaml").write_text(avro.replace("format: i32, minimum: 1", "minimum: 1"))
    refused = register("orders")
    assert refused.exit_code == 1
    assert "FULL_TRANSITIVE" in refused.stderr
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://someone:secret@127.0.0.1:9/apis")
    nowhere = register("orders")
    assert nowhere.exit_code == 1
    assert "error: the schema registry at http://127.0.0.1:9/apis: " in nowhere.stderr
    assert "secret" not in nowhere.stderr
