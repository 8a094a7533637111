"""What integration tests share: a dataset with a topic of its own, its tables, and the `lakehouse` command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from dagster_project.accounting.account import Account, account
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.bronze import Batch, ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY
from dagster_project.sources.encoding import encoder_of
from dagster_project.sources.producer import Published, publish
from dagster_project.sources.salting import keying_of
from dagster_project.sources.source import Source
from dagster_project.topics import admin, derived
from dagster_project.topics.broker import Broker

# Far more than a request takes on a busy machine.
PATIENCE = 30.0
# A whole command, Dagster's start included, on a busy machine.
COMMAND_PATIENCE = 240.0
# No test's data take longer to read, so that an ingest ends when it has caught up.
_INGEST_SECONDS = 120.0
# Place of a message: Kafka partition and offset.
PLACE = ("_kafka_partition", "_kafka_offset")


@dataclass(frozen=True, kw_only=True)
class Lake:
    """One dataset from its topic to its marts, driven step by step without Dagster."""

    catalog: Catalog
    dataset: Dataset
    servers: str
    storage: Storage
    home: Path
    registry: str = ""

    def create_topic(self) -> None:
        for step in admin.plan_all(derived.wanted([self.dataset]), bootstrap_servers=self.servers):
            admin.apply(step, bootstrap_servers=self.servers)

    def produce(self, source: Source, *, limit: int | None = None) -> Published:
        return publish(
            source,
            topic=self.dataset.topic.name,
            bootstrap=self.servers,
            progress_group=source.progress_group,
            home=self.home,
            limit=limit,
            encode=encoder_of(self.dataset, registry=self.registry),
            keying=keying_of(self.dataset),
        )

    def ingest(self, limits: Limits | None = None) -> list[Batch]:
        return list(
            ingest(
                self.dataset,
                bootstrap_servers=self.servers,
                storage=self.storage,
                limits=limits or Limits(),
                seconds=_INGEST_SECONDS,
                registry=self.registry,
                warn=_refuse,
            )
        )

    def refine(self) -> None:
        for _ in refine(self.dataset, storage=self.storage, keys=None):
            pass

    def compute(self) -> None:
        for mart in self.catalog.marts:
            for _ in compute(mart, catalog=self.catalog, storage=self.storage, keys=None):
                pass

    def account(self) -> Account:
        return account(
            self.dataset,
            catalog=self.catalog,
            storage=self.storage,
            topic=lambda: Broker(self.servers).topic(self.dataset.topic.name),
            bootstrap_servers=self.servers,
            payloads=True,
            registry=self.registry,
        )

    def table(self, spec: TableSpec) -> Table:
        found = Table.find(spec, storage=self.storage)
        assert found is not None
        return found

    def tables(self) -> dict[str, Table]:
        """All that was written, by `layer/name`."""
        marts = self.catalog.marts_of(self.dataset.name)
        all_specs = [
            *(spec(self.dataset) for spec in (specs.bronze, specs.silver, specs.quarantine)),
            *map(specs.gold, marts),
        ]
        found = {f"{spec.layer}/{spec.name}": Table.find(spec, storage=self.storage) for spec in all_specs}
        return {name: table for name, table in found.items() if table is not None}

    def silver(self) -> pl.DataFrame:
        return self.table(specs.silver(self.dataset)).rows().collect()

    def bronze(self) -> pl.DataFrame:
        return self.table(specs.bronze(self.dataset)).rows().collect()

    def quarantine(self) -> pl.DataFrame:
        return self.table(specs.quarantine(self.dataset)).rows().collect()

    def gold(self, name: str) -> pl.DataFrame:
        mart = next(mart for mart in self.catalog.marts if mart.name == name)
        return self.table(specs.gold(mart)).rows().collect()


def own_lake(name: str, *, servers: str, uri: str, home: Path) -> Lake:
    """A dataset of the project's own contracts, on a topic that no other test has."""
    catalog = load_catalog(REPOSITORY / "contracts")
    dataset = catalog.dataset(name)
    dataset = replace(dataset, topic=replace(dataset.topic, name=unique(dataset.topic.name)))
    # With what they read that comes from no dataset; marts of others, too, cannot be computed here.
    marts = tuple(mart for mart in catalog.marts if catalog.origins(mart) <= {name})
    return Lake(
        catalog=replace(catalog, datasets=(dataset,), marts=marts),
        dataset=dataset,
        servers=servers,
        storage=Storage.at(uri),
        home=home,
    )


def unique(name: str) -> str:
    return f"{name}.{uuid.uuid4().hex[:12]}"


def places(frame: pl.DataFrame) -> set[tuple[int, int]]:
    return set(frame.select(PLACE).iter_rows())


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return listener.getsockname()[1]


def environment(
    *, home: Path, project: Path = REPOSITORY, servers: str = "", more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables of a command: this process's, but nothing of them about the lakehouse."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "KAFKA_", "DAGSTER_"))
    }
    settings = {"LAKEHOUSE_HOME": str(home), "LAKEHOUSE_PROJECT": str(project), "KAFKA_BOOTSTRAP_SERVERS": servers}
    # Tables as wide as they need to be: tests look for text in them.
    return {**inherited, **settings, "COLUMNS": "200", **(more or {})}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dagster_project.cli.main", *arguments]


def lakehouse(arguments: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `lakehouse` to its end."""
    return subprocess.run(
        command(*arguments),
        env=dict(variables),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=COMMAND_PATIENCE,
        check=False,
    )


def _refuse(warning: str) -> None:
    raise AssertionError(warning)
