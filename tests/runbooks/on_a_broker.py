"""Broken states that need a broker: topics that were lost or made anew, unread events, dead letters, damage to be proven."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import confluent_kafka as ck
import polars as pl
from confluent_kafka.admin import AdminClient

from dagster_project.contract.loader import load_catalog
from dagster_project.errors import LakehouseError
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.outbox.publish import publish
from dagster_project.topics import admin, derived
from tests.integration.accounting.kafka import delete_before
from tests.integration.lake import PATIENCE, unique
from tests.runbooks.on_lakes import order
from tests.runbooks.rehearsal import State
from tests.runbooks.shell import shell
from tests.runbooks.states import editor, lake_in, lake_storage, project, refine_and_compute
from tests.unit.lakes import Message

_TOPIC = "commerce.orders.v1"
_SECONDS = 60.0


def on_topic(folder: Path, servers: str, *, change: tuple[str, str] = ("", "")) -> None:
    """A project with orders, on a topic of its own with one Kafka partition."""
    project(folder, "orders", "marts/revenue_daily")
    contract = folder / "contracts" / "orders.odcs.yaml"
    text = contract.read_text().replace("{property: partitions, value: 8}", "{property: partitions, value: 1}")
    contract.write_text(text.replace(_TOPIC, unique(_TOPIC)).replace(*change))
    create_topics(folder, servers)


def create_topics(folder: Path, servers: str) -> None:
    for step in admin.plan_all(derived.wanted(load_catalog(folder / "contracts").datasets), bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)


def topic_of(folder: Path) -> str:
    return load_catalog(folder / "contracts").dataset("orders").topic.name


def send(folder: Path, servers: str, messages: Iterable[Message], *, age_s: float = 0.0) -> None:
    """Args: `age_s`: how long ago they pretend to have been sent."""
    producer = ck.Producer({"bootstrap.servers": servers, "acks": "all"})
    at = int((time.time() - age_s) * 1000)
    for message in messages:
        producer.produce(topic_of(folder), key=message.key, value=message.payload, timestamp=at)
    assert producer.flush(PATIENCE) == 0


def work(folder: Path, servers: str) -> None:
    """One run of each job, as the sensors launch them; one that fails would be tried again."""
    storage = lake_storage(folder)
    for dataset in load_catalog(folder / "contracts").datasets:
        with suppress(LakehouseError):
            list(
                ingest(
                    dataset,
                    bootstrap_servers=servers,
                    storage=storage,
                    limits=Limits(),
                    seconds=_SECONDS,
                    warn=lambda _: None,
                )
            )
    refine_and_compute(folder)
    for dataset in load_catalog(folder / "contracts").datasets:
        with suppress(LakehouseError):
            publish(dataset, storage=storage, bootstrap_servers=servers)


def state(
    folder: Path,
    servers: str,
    *,
    edit: tuple[str, str] | None = None,
    goes_on: bool = True,
    outside: Callable[[], object] = lambda: None,
) -> State:
    """Args: `goes_on`: runs are launched meanwhile."""
    return State(
        shell=shell(folder, editor(folder, *edit) if edit else {}, servers=servers),
        work=(lambda: work(folder, servers)) if goes_on else lambda: None,
        outside=outside,
    )


def poison_rate(folder: Path, servers: str) -> State:
    """The shop has opened in a region that the contract does not know."""
    on_topic(folder, servers)
    send(folder, servers, (latin(n) if n % 5 == 0 else order(n) for n in range(200)))
    work(folder, servers)
    return state(folder, servers, edit=("{value: apac}]", "{value: apac}, {value: latam}]"))


def latin(number: int) -> Message:
    found = order(number, region="us")
    columns = json.loads(found.payload or b"")
    return Message(offset=number, payload=json.dumps(columns | {"region": "latam"}).encode(), key=found.key)


def retention_loss(folder: Path, servers: str) -> State:
    """Nobody has read for so long that the broker has deleted some of it."""
    on_topic(folder, servers)
    send(folder, servers, (order(n) for n in range(100)))
    work(folder, servers)
    send(folder, servers, (order(n) for n in range(100, 150)))
    delete_before(servers, topic_of(folder), {0: 120})
    return state(folder, servers)


def time_to_loss(folder: Path, servers: str) -> State:
    """Runs are switched off, and the first unread event is an hour from its deletion."""
    on_topic(folder, servers, change=("{property: retention, value: P7D}", "{property: retention, value: PT20H}"))
    send(folder, servers, (order(n) for n in range(100)))
    work(folder, servers)
    send(folder, servers, (order(n) for n in range(100, 150)), age_s=19 * 3600.0)
    return state(folder, servers, edit=("PT20H", "P7D"), goes_on=False)


def lag(folder: Path, servers: str) -> State:
    """The sensor that launches ingests is switched off."""
    on_topic(folder, servers)
    send(folder, servers, (order(n) for n in range(100)))
    work(folder, servers)
    send(folder, servers, (order(n) for n in range(100, 600)))
    return state(folder, servers, goes_on=False, outside=lambda: work(folder, servers))


def topic_recreated(folder: Path, servers: str) -> State:
    """Somebody has deleted the topic, and its producer goes on in a new one."""
    on_topic(folder, servers)
    send(folder, servers, (order(n) for n in range(100)))
    work(folder, servers)
    topic, client = topic_of(folder), AdminClient({"bootstrap.servers": servers})
    client.delete_topics([topic])[topic].result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while topic in client.list_topics(timeout=PATIENCE).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    create_topics(folder, servers)
    send(folder, servers, (order(n) for n in range(200, 250)))
    return state(folder, servers)


def damaged_table(folder: Path, servers: str) -> State:
    """A file of Silver is gone from the store."""
    on_topic(folder, servers)
    send(folder, servers, (order(n) for n in range(100)))
    work(folder, servers)
    table = Table.find(specs.silver(lake_in(folder, "orders").dataset), storage=lake_storage(folder))
    assert table is not None
    table.commit(table.rows().filter(pl.col("_kafka_offset") >= 3).collect(), remove=table.files(), cursors={})
    return state(folder, servers)


STATES: Mapping[str, Callable[[Path, str], State]] = {
    "damaged-table": damaged_table,
    "lag": lag,
    "poison-rate": poison_rate,
    "retention-loss": retention_loss,
    "time-to-loss": time_to_loss,
    "topic-recreated": topic_recreated,
}
