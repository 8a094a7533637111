"""A dataset with a topic of its own on a real broker, and the runs that work on it, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.bronze import Batch, ingest
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Limits
from dagster_project.ingest.shards import WHOLE, Shard
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.settings import REPOSITORY
from tests.integration.lake import COMMAND_PATIENCE, PATIENCE, PLACE, unique
from tests.unit import lakes

EVENTS = 2_000
LEVEL = 1


@dataclass(kw_only=True)
class Scene:
    """A dataset with a topic of its own, and the runs that work on it."""

    folder: Path
    servers: str
    catalog: Catalog
    storage: Storage
    sent: list[tuple[int, int]] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def dataset(self) -> Dataset:
        return self.catalog.datasets[0]

    @property
    def signs(self) -> Path:
        return self.folder / "signs"

    def start(self, what: str, *, wait_at: str = "-", shard: Shard = WHOLE) -> subprocess.Popen[str]:
        arguments = [what, self.folder / "contracts", self.storage.uri, self.servers, wait_at, self.signs, shard]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.fencing.worker", *map(str, arguments)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def await_signs(self, count: int) -> None:
        deadline = time.monotonic() + COMMAND_PATIENCE
        while len(list(self.signs.glob("waiting-*"))) < count:
            assert all(process.poll() is None for process in self.processes)
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def go(self) -> None:
        (self.signs / "go").touch()

    def produce(self, count: int, *, first: int = 0) -> None:
        """Readings over all Kafka partitions; what the broker says of their places is the oracle."""
        producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})
        for number in range(first, first + count):
            event = lakes.reading(0, f"k{number}", day=1 + number % 3, region=["eu", "us"][number % 2], level=LEVEL)
            producer.produce(self.dataset.topic.name, event.payload, event.key, on_delivery=self.delivered)
            producer.poll(0)
        producer.flush(PATIENCE)

    def delivered(self, error: object, message: Any) -> None:
        """Write down where the broker has put a message."""
        assert error is None
        self.sent.append((message.partition(), message.offset()))

    def ingest(
        self, *, warn: Callable[[str], None] = pytest.fail, rows: int = 500, shard: Shard = WHOLE
    ) -> list[Batch]:
        run = ingest(
            self.dataset,
            bootstrap_servers=self.servers,
            storage=self.storage,
            limits=Limits(rows=rows),
            seconds=PATIENCE,
            shard=shard,
            warn=warn,
        )
        return list(run)

    def table(self, spec: TableSpec) -> Table:
        found = Table.find(spec, storage=self.storage)
        assert found is not None
        return found

    def bronze(self) -> Table:
        return self.table(specs.bronze(self.dataset))

    def check_bronze(self) -> None:
        """Each message that was sent once, and the cursor behind the last of them."""
        places = list(self.bronze().rows().select(PLACE).collect().iter_rows())
        assert sorted(places) == sorted(self.sent)
        cursor = Cursor.from_table(self.bronze().cursors())
        assert cursor is not None
        ends = {partition: max(o for p, o in self.sent if p == partition) + 1 for partition, _ in self.sent}
        assert {partition: offset for partition, offset in cursor.next.items() if offset} == ends

    def lake(self) -> lakes.Lake:
        return lakes.Lake(catalog=self.catalog, storage=self.storage, dataset=self.dataset)


@contextmanager
def new_scene(broker: str, folder: Path, *, partitions: int = 4) -> Generator[Scene]:
    """A new topic and an empty lake; ends the processes that a failed test has left behind."""
    name = unique("test.readings")
    contract = lakes.CONTRACT.replace("test.readings", name)
    files = {"readings.odcs.yaml": contract, "levels.odcs.yaml": lakes.MART, "levels.sql": lakes.SQL}
    catalog = load_catalog(lakes.write_project(folder / "contracts", files))
    (folder / "signs").mkdir()
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])[name].result(PATIENCE)
    made = Scene(folder=folder, servers=broker, catalog=catalog, storage=Storage.at(str(folder / "lake")))
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=COMMAND_PATIENCE)
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])
