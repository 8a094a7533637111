"""How long the sensor of Kafka's lag takes for a hundred topics, all with new events and a table that has just moved."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import confluent_kafka as ck
import dagster as dg
import polars as pl
from confluent_kafka.admin import NewTopic

from benchmarks.figures import Outcome, rounded
from benchmarks.ground import CONTRACTS, Ground
from benchmarks.preload import PARTITIONS
from benchmarks.show import Show
from benchmarks.sizes import Sizes
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.settings import Settings
from dagster_project.topics.broker import Broker
from dagster_project.topics.client import admin_client, answer

# What a contract calls itself, and its topic.
_NAMES = ("id: orders\n", "- name: orders\n", "commerce.orders.v1", "element: orders.")


def run(ground: Ground, sizes: Sizes, show: Show) -> Outcome:
    project = ground.home / "tick"
    catalog = load_catalog(_contracts(project / "contracts", sizes.contracts))
    storage = Storage.at(str(project / "lake"))
    settings = Settings(home=project, project=project, lake_uri=storage.uri, bootstrap_servers=ground.servers)
    _topics(catalog, ground.servers)
    tables = {dataset.name: Table.open(specs.bronze(dataset), storage=storage) for dataset in catalog.datasets}
    nothing = pl.DataFrame(schema=dict(specs.bronze(catalog.datasets[0]).schema))
    cursors = _cursors(catalog, ground.servers)
    repository = _repository(catalog, settings)
    sensor = repository.get_sensor_def("kafka_lag")
    resources = {"lake": LakeResource(uri=storage.uri), "kafka": KafkaResource(servers=ground.servers)}
    seconds: list[float] = []
    logging.disable(logging.INFO)  # one line a topic, which the daemon would keep with the tick
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        for number in range(sizes.ticks + 1):
            for dataset in catalog.datasets:
                cursor = replace(cursors[dataset.name], batch_id=number)
                tables[dataset.name].commit(nothing, cursors=cursor.to_table())
            context = dg.build_sensor_context(instance, resources=resources, repository_def=repository)
            began = time.monotonic()
            found = sensor(context)
            seconds.append(time.monotonic() - began)
            assert isinstance(found, dg.SensorResult)
            assert len(found.run_requests or []) == sizes.contracts, "each topic has lag, so each needs a run"
    logging.disable(logging.NOTSET)
    first, *ticks = seconds  # the first one reads the logs from their start
    show.say(f"tick: {sizes.contracts} topics in {min(ticks):.2f} to {max(ticks):.2f} s, the first in {first:.2f} s")
    return Outcome.of({"tick_s": ticks}, details={"topics": sizes.contracts, "first_s": rounded(first)})


def _repository(catalog: Catalog, settings: Settings) -> dg.RepositoryDefinition:
    with warnings.catch_warnings():
        # Dagster announces some of what the platform uses as beta, once for each contract.
        warnings.simplefilter("ignore", dg.BetaWarning)
        from dagster_project.definitions import build  # noqa: PLC0415 it builds the repository's own contracts, too

        return build(catalog, settings).get_repository_def()


def _contracts(folder: Path, count: int) -> Path:
    """The orders' contract under other names."""
    folder.mkdir(parents=True)
    text = (CONTRACTS / "retail" / "orders.odcs.yaml").read_text(encoding="utf-8")
    for number in range(count):
        own = text
        for name in _NAMES:
            own = own.replace(name, name.replace("orders", f"orders_{number}"))
        (folder / f"orders_{number}.odcs.yaml").write_text(own, encoding="utf-8")
    return folder


def _topics(catalog: Catalog, servers: str) -> None:
    """Each with one event."""
    names = [dataset.topic.name for dataset in catalog.datasets]
    admin = admin_client(servers)
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        answer(future, servers=servers)
    producer = ck.Producer({"bootstrap.servers": servers})
    for name in names:
        producer.produce(name, b"{}")
    producer.flush()


def _cursors(catalog: Catalog, servers: str) -> dict[str, Cursor]:
    """By dataset, the start of its topic."""
    names = {dataset.topic.name: dataset.name for dataset in catalog.datasets}
    return {
        names[name]: Cursor(
            cluster_id=topic.cluster_id, topic_id=topic.topic_id, start=topic.first, next=topic.first, batch_id=0
        )
        for name, topic in Broker(servers).topics(list(names)).items()
    }
