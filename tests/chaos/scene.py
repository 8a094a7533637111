"""One dataset to break things around: its project, its topic, its lake, and the streams that were sent to it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY
from dagster_project.sources import oracle
from dagster_project.sources.oracle import Record
from dagster_project.sources.orders import Orders
from dagster_project.sources.producer import publish
from dagster_project.topics import admin
from dagster_project.topics.derived import wanted
from dagster_project.topics.patience import topic_id
from tests.chaos.tables import Tables
from tests.chaos.worker import POISON
from tests.chaos.world import World
from tests.integration.lake import environment, unique

SABOTEUR = Path(__file__).parent / "saboteur"
_FILES = ("orders.odcs.yaml", "marts/revenue_daily.odcs.yaml", "marts/revenue_daily.sql")
# Enough for all kinds of trouble in each slice, and few enough to be judged in a second.
EVENTS = 700
# Of the topic, as the contract has it.
PARTITIONS = 8


@dataclass(kw_only=True)
class Scene:
    """What there is of it, and what was done to it.

    Attributes:
        seed: of the first stream.
        disabled: the safeguard that its processes are without.
        streams: how many were sent.
        gone: places of records that a person declared lost.
    """

    world: World
    home: Path
    catalog: Catalog
    dataset: Dataset
    storage: Storage
    tables: Tables
    seed: int
    disabled: str = ""
    streams: int = 0
    gone: set[oracle.Place] = field(default_factory=set)

    @property
    def topic(self) -> str:
        return self.dataset.topic.name

    @property
    def plan(self) -> Path:
        """The saboteur's plan for whichever process comes first."""
        return self.home / "plan.json"

    def create_topic(self) -> None:
        """And the topics that follow from it; or let it grow to what its contract says."""
        for step in admin.plan_all(wanted([self.dataset]), bootstrap_servers=self.world.servers):
            admin.apply(step, bootstrap_servers=self.world.servers)

    def source(self, events: int = EVENTS) -> Orders:
        """The next stream; no two have an order in common."""
        self.streams += 1
        return Orders(dataset=self.dataset, events=events, seed=self.seed + self.streams, poison=POISON)

    def produce(self, events: int = EVENTS) -> None:
        self.send(self.source(events))

    def send(self, source: Orders, *, rate: float | None = None) -> None:
        publish(
            source,
            topic=self.topic,
            bootstrap=self.world.servers,
            progress_group=source.progress_group,
            home=self.home,
            rate=rate,
        )

    def records(self) -> list[Record]:
        """All that was delivered to any topic of this scene, but for what was declared lost."""
        logs = sorted((self.home / "oracle" / self.topic).rglob("*.ndjson"))
        return [record for record in oracle.read(*logs) if record.place not in self.gone]

    def topic_id(self) -> str:
        return topic_id(self.topic, bootstrap=self.world.servers)

    def forget(self) -> None:
        """The topic was deleted, and with it all that was sent to it."""
        shutil.rmtree(self.home / "oracle" / self.topic)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return environment(
            home=self.home,
            project=self.home / "project",
            servers=self.world.servers,
            more={
                "LAKEHOUSE_URI": self.storage.uri,
                "PYTHONPATH": str(SABOTEUR),
                "CHAOS_PLAN": str(self.plan),
                "CHAOS_DISABLE": self.disabled,
                **(more or {}),
            },
        )

    def start(self, *steps: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a worker; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.worker", *steps],
            cwd=REPOSITORY,
            env=self.environment(more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def scene(world: World, *, seed: int, local: bool = False, partitions: int = PARTITIONS, disabled: str = "") -> Scene:
    """A fresh topic and an empty lake, on S3 unless it is to be on local disk."""
    name = unique("orders")
    home = world.home / name
    topic = unique("commerce.orders.v1")
    contracts = home / "project" / "contracts"
    (contracts / "marts").mkdir(parents=True)
    for file in _FILES:
        shutil.copyfile(REPOSITORY / "contracts" / file, contracts / file)
    contract = contracts / "orders.odcs.yaml"
    text = contract.read_text().replace("commerce.orders.v1", topic)
    old, new = (f"{{property: partitions, value: {count}}}" for count in (PARTITIONS, partitions))
    assert old in text
    contract.write_text(text.replace(old, new))
    catalog = load_catalog(contracts)
    storage = Storage.at(str(home / "lake") if local else f"s3://{world.bucket(name)}")
    made = Scene(
        world=world,
        home=home,
        catalog=catalog,
        dataset=catalog.dataset("orders"),
        storage=storage,
        tables=Tables(storage.uri, endpoint=world.direct),
        seed=seed,
        disabled=disabled,
    )
    made.create_topic()
    return made
