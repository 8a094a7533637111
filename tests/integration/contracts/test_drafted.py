"""A contract drafted from sample messages takes these messages to Silver, as it is; and one that learns a field fills it in."""

from __future__ import annotations

import datetime as dt
import json
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from confluent_kafka import Producer

from dagster_project.checks.bronze import DRIFT
from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.lake.storage import Storage
from dagster_project.refine.recover import backfill
from dagster_project.sensors.kafka_lag import ingest_job_name
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.sources.flights import Flights
from tests.integration.lake import PATIENCE, Lake, environment, lakehouse, unique

FLIGHTS = 5_000
NAME = "departures"


@pytest.fixture(scope="module")
def sent() -> list[dict[str, Any]]:
    source = Flights(dataset=load_catalog(REPOSITORY / "contracts").dataset("flights"))
    return [json.loads(event.value or b"") for event in islice(source, FLIGHTS)]


def drafted(folder: Path, messages: list[dict[str, Any]]) -> Path:
    """A contract for a topic of its own, from the command and not edited but for the topic's name."""
    sample = folder / "sample.ndjson"
    sample.write_text("\n".join(map(json.dumps, messages)))
    (folder / "contracts").mkdir()
    done = lakehouse(["contract", "new", NAME, "--from", str(sample)], environment(home=folder, project=folder))
    assert done.returncode == 0, done.stderr
    assert "guess" in done.stdout
    return folder / "contracts" / f"{NAME}.odcs.yaml"


def lake_of(contract: Path, broker: str, topic: str) -> Lake:
    document = yaml.safe_load(contract.read_text())
    document["schema"][0]["physicalName"] = topic
    contract.write_text(yaml.safe_dump(document, sort_keys=False))
    catalog = load_catalog(contract.parent)
    folder = contract.parent.parent
    storage = Storage.at(str(folder / "lake"))
    return Lake(catalog=catalog, dataset=catalog.datasets[0], servers=broker, storage=storage, home=folder)


def send(lake: Lake, messages: list[dict[str, Any]]) -> None:
    producer = Producer({"bootstrap.servers": lake.servers, "queue.buffering.max.messages": 100_000})
    for message in messages:
        producer.produce(lake.dataset.topic.name, key=str(message["flight"]), value=json.dumps(message))
    assert producer.flush(PATIENCE) == 0


def as_sent(value: Any) -> Any:
    """A value of Silver as JSON spells it."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, dt.datetime) else value


def test_five_thousand_flights(broker: str, tmp_path: Path, sent: list[dict[str, Any]]) -> None:
    lake = lake_of(drafted(tmp_path, sent), broker, unique(NAME))
    lake.create_topic()
    send(lake, sent)
    lake.ingest()
    lake.refine()
    names = list(sent[0])
    found = [{name: as_sent(row[name]) for name in names} for row in lake.silver().iter_rows(named=True)]
    key = lake.dataset.merge_key

    def by_key(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {tuple(row[name] for name in key): row for row in rows}

    assert len(found) == FLIGHTS
    assert by_key(found) == by_key([{name: message.get(name) for name in names} for message in sent])
    assert lake.account().accounted


def test_a_field_that_the_contract_learns_later(broker: str, tmp_path: Path, sent: list[dict[str, Any]]) -> None:
    known = [{name: value for name, value in message.items() if name != "distance"} for message in sent[:1_500]]
    contract = drafted(tmp_path, known)
    lake = lake_of(contract, broker, unique(NAME))
    lake.create_topic()
    send(lake, sent[:1_000])
    (batch,) = lake.ingest()
    assert (batch.drifted, batch.unknown) == (1_000, {"distance": 1_000})
    lake.refine()
    silver = lake.silver()
    assert "distance" not in silver.columns
    assert json.loads(silver["_rescued"][0]).keys() == {"distance"}

    document = yaml.safe_load(contract.read_text())
    document["schema"][0]["properties"].append({"name": "distance", "logicalType": "integer"})
    contract.write_text(yaml.safe_dump(document, sort_keys=False))
    richer = lake_of(contract, broker, lake.dataset.topic.name)
    send(richer, sent[1_000:1_500])
    (batch,) = richer.ingest()
    assert batch.drifted == 0
    assert sum(backfill(richer.dataset, storage=richer.storage).values()) == 1_000
    richer.refine()
    silver = richer.silver()
    wanted = {(m["flight"], m["scheduled_departure"], m["origin"]): m["distance"] for m in sent[:1_500]}
    found = silver.select("flight", "scheduled_departure", "origin", "distance").rows()
    assert {(flight, as_sent(departure), origin): distance for flight, departure, origin, distance in found} == wanted
    assert silver["_rescued"].null_count() == len(silver) == 1_500
    assert richer.account().accounted


def test_the_check_of_bronze_names_the_fields_that_no_contract_knows(
    broker: str, tmp_path: Path, sent: list[dict[str, Any]]
) -> None:
    known = [{name: value for name, value in message.items() if name != "distance"} for message in sent[:1_500]]
    lake = lake_of(drafted(tmp_path, known), broker, unique(NAME))
    lake.create_topic()
    send(lake, [*sent[:100], *known[100:150]])
    settings = Settings(home=tmp_path, project=tmp_path, lake_uri=lake.storage.uri, bootstrap_servers=broker)
    definitions = build(lake.catalog, settings)

    def evaluation() -> dg.AssetCheckEvaluation:
        with dg.DagsterInstance.ephemeral() as instance:
            job = definitions.resolve_job_def(ingest_job_name(lake.dataset))
            found = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        return next(one for one in found if one.check_name == DRIFT)

    warned = evaluation()
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert warned.metadata["rows_by_field"].value == {"distance": 100}
    assert (warned.metadata["events"].value, warned.metadata["events_with_unknown_fields"].value) == (150, 100)

    send(lake, known[150:160])
    assert evaluation().passed
