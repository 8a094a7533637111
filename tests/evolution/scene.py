"""A dataset whose contract evolves while producers send, runs write, a reader reads and an auditor accounts, all at once."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from confluent_kafka import Producer

from dagster_project.accounting.account import Account, account
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.errors import StaleCursorError
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.query import query
from dagster_project.lake.serving import written
from dagster_project.lake.storage import Storage
from dagster_project.refine.gold import compute
from dagster_project.refine.recover import backfill
from dagster_project.refine.silver import refine
from dagster_project.topics import admin, derived
from dagster_project.topics.broker import Broker
from tests.integration.lake import unique
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

NAME = "readings"
LEVEL = "{name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}"
COUPON = "\n      - {name: coupon, logicalType: string}"
HEIGHT = (
    "{name: height, logicalType: integer, customProperties: [{property: renamedFrom, value: level}]}"
    "\n      - {name: unit, logicalType: string}"
)
GROWN = CONTRACT.replace("1.0.0", "1.1.0").replace(LEVEL, LEVEL + COUPON)
NEXT = CONTRACT.replace("1.0.0", "2.0.0").replace(LEVEL, HEIGHT + COUPON)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAYS, REGIONS = 3, ("eu", "us")
# Every so many messages one is no JSON.
POISON = 1_000
# Far longer than anything takes on a busy machine.
PATIENCE_S = 300.0


def is_poison(number: int) -> bool:
    return number % POISON == POISON - 1


def message(number: int, *, keys: int) -> tuple[str, bytes]:
    """Versions of a few keys, newer and newer; the second half of the messages has the new name beside the old one."""
    key = number % keys
    document: dict[str, Any] = {
        "id": f"k{key}",
        "at": (START + dt.timedelta(milliseconds=number)).isoformat(),
        "placed": (START + dt.timedelta(days=key % DAYS)).isoformat(),
        "region": REGIONS[key % 2],
        "level": number,
        "unit": f"u{number % 7}",
        **({"coupon": f"X{number}"} if number % 3 else {}),
        **({"height": number} if number % 2 else {}),
    }
    return document["id"], b"?" if is_poison(number) else json.dumps(document).encode()


@dataclass
class Reader:
    """What a reader saw that should not be; `reads` counts its queries, `newest` is the newest event that it saw."""

    reads: int = 0
    newest: int = -1
    problems: list[str] = field(default_factory=list)
    served: set[int] = field(default_factory=set)
    last: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"id": pl.String, "level": pl.Int64}))

    def wait_for(self, number: int) -> None:
        wait(lambda: self.newest >= number or bool(self.problems))

    def look(self, found: pl.DataFrame) -> None:
        """Compare an answer with the one before: keys stay, and their versions only become newer."""
        if found["id"].is_duplicated().any():
            self.problems.append(f"read {self.reads}: a doubled row")
        both = self.last.join(found, on="id", how="left", suffix="_now")
        if gone := both["level_now"].null_count():
            self.problems.append(f"read {self.reads}: {gone} rows are gone, or without a value")
        if back := both.filter(pl.col("level_now") < pl.col("level")).height:
            self.problems.append(f"read {self.reads}: {back} rows are older than before")
        if (found["level"] != found["height"]).any():
            self.problems.append(f"read {self.reads}: the two names of a column differ")
        if len(found):
            without = found["unit"].null_count()  # only the newer version has it
            self.served.add(1 if without else 2)
            self.newest = int(found["level"].max() or 0)  # pyright: ignore[reportArgumentType] of integers
            if without not in {0, len(found)}:
                self.problems.append(f"read {self.reads}: rows of both versions")
        self.last = found.select("id", "level")
        self.reads += 1


@dataclass(kw_only=True)
class Scene:
    contracts: Path
    storage: Storage
    servers: str
    topic: str
    keys: int
    sent: int = 0

    @property
    def catalog(self) -> Catalog:
        """Read anew, as each command and each run does."""
        return load_catalog(self.contracts)

    def agree(self, *texts: str) -> None:
        """Make these the contracts of the project."""
        wanted = {f"v{place}.odcs.yaml": text.replace("test.readings", self.topic) for place, text in enumerate(texts)}
        for name, text in {**wanted, "levels.odcs.yaml": MART, "levels.sql": SQL}.items():
            staged = write_project(self.contracts, {f"{name}.new": text}) / f"{name}.new"
            staged.replace(self.contracts / name)  # at once, as others read them
        for path in self.contracts.glob("v*.odcs.yaml"):
            if path.name not in wanted:
                path.unlink()

    def create_topic(self) -> None:
        for step in admin.plan_all(derived.wanted(self.catalog.datasets), bootstrap_servers=self.servers):
            admin.apply(step, bootstrap_servers=self.servers)

    def send(self, number: int, *, stop: threading.Event, most: Callable[[], int]) -> None:
        """Send up to so many messages in all, and at each moment no more than `most`."""
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5})
        while self.sent < number and not stop.is_set():
            for _ in range(min(most(), number, self.sent + 50_000) - self.sent):  # half of what its queue holds
                key, value = message(self.sent, keys=self.keys)
                producer.produce(self.topic, key=key, value=value)
                self.sent += 1
                producer.poll(0)
            producer.flush()
            time.sleep(0.01)
        producer.flush()

    def work(self) -> None:
        """One run of each job, as the sensors launch them."""
        catalog = self.catalog
        for _ in ingest(
            catalog.datasets[0],
            bootstrap_servers=self.servers,
            storage=self.storage,
            limits=Limits(),
            seconds=1.0,
            warn=_fail,
        ):
            pass
        for version in written(catalog, NAME, storage=self.storage):
            try:
                backfill(version, storage=self.storage)
                for _ in refine(version, storage=self.storage, keys=None):
                    pass
            except StaleCursorError:
                pass  # the release does the same in this moment; Dagster would try again, too
        for mart in catalog.marts:
            for _ in compute(mart, catalog=catalog, storage=self.storage, keys=None):
                pass

    def accounts(self, *, payloads: bool = False) -> list[Account]:
        catalog = self.catalog
        return [
            account(
                version,
                catalog=catalog,
                storage=self.storage,
                topic=lambda: Broker(self.servers).topic(self.topic),
                bootstrap_servers=self.servers,
                payloads=payloads,
                deep=payloads,
            )
            for version in written(catalog, NAME, storage=self.storage)
        ]

    def read(self) -> pl.DataFrame:
        # Before the newer contract is there, its columns are not either.
        columns = "*" if self.catalog.successors else "*, level AS height, NULL::VARCHAR AS unit"
        sql = f"SELECT id, level, height, unit FROM (SELECT {columns} FROM silver.{NAME})"
        return query(sql, catalog=self.catalog, storage=self.storage)

    @contextmanager
    def busy(self, number: int, *, lead: int) -> Generator[tuple[Reader, list[Account]]]:
        """While all are at work: yields the reader, and the accounts that are taken; fails if one of them did.

        Args:
            lead: how many messages the producer is ahead of what the reader has seen, so that there is load all the time.
        """
        stop = threading.Event()
        reader, found = Reader(), list[Account]()

        def audit() -> None:
            found.extend(self.accounts())

        steps: list[Callable[[], None]] = [self.work, lambda: reader.look(self.read()), audit]
        failures: list[BaseException] = []

        def repeat(step: Callable[[], None]) -> None:
            try:
                while not stop.is_set():
                    step()
            except Exception as error:  # noqa: BLE001 told below, whatever it is
                failures.append(error)
                reader.problems.append(repr(error))

        threads = [threading.Thread(target=repeat, args=(step,)) for step in steps]
        ahead = {"stop": stop, "most": lambda: reader.newest + lead}
        threads.append(threading.Thread(target=self.send, args=(number,), kwargs=ahead))
        for thread in threads:
            thread.start()
        try:
            yield reader, found
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        if failures:
            raise failures[0]

    def catch_up(self) -> None:
        for _ in range(2):
            self.work()

    def newest(self) -> pl.DataFrame:
        """What the messages say, by key: the oracle."""
        rows: dict[str, int] = {}
        for key in range(min(self.keys, self.sent)):
            last = key + (self.sent - 1 - key) // self.keys * self.keys
            while last >= 0 and is_poison(last):
                last -= self.keys
            if last >= 0:
                rows[f"k{key}"] = last
        number = pl.Series("level", list(rows.values()), pl.Int64)
        frame = pl.DataFrame({"id": list(rows), "level": number, "height": number.alias("height")})
        return frame.with_columns(
            unit=pl.format("u{}", pl.col("level") % 7),
            coupon=pl.when(pl.col("level") % 3 != 0).then(pl.format("X{}", pl.col("level"))),
        ).sort("id")


def scene_of(home: Path, *, servers: str, keys: int) -> Scene:
    """A project with the first version of the contract, and its topic."""
    scene = Scene(
        contracts=home / "contracts",
        storage=Storage.at(str(home / "lake")),
        servers=servers,
        topic=unique(NAME),
        keys=keys,
    )
    scene.agree(CONTRACT)
    scene.create_topic()
    return scene


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _fail(warning: str) -> None:
    raise AssertionError(warning)
