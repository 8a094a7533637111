"""A million payments while the worker and the producer are killed again and again: the course, and the verdict."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pandas as pd

from dagster_project.accounting.account import Account, account
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.topics import admin, derived
from dagster_project.topics.broker import Broker
from tests.integration.lake import environment
from tests.ledger.books import Books, Version, differences, expected
from tests.ledger.payments import delivered
from tests.ledger.worker import source_of

_FILES = ("payments.odcs.yaml", "marts/ledger.odcs.yaml", "marts/ledger.sql")
_POLL_S = 0.5
# Far longer than it takes to send and to read what is left once nobody kills any more.
_PATIENCE_S = 3_600.0


def project(home: Path) -> Path:
    """A project of the payments and their ledger alone."""
    folder = home / "project"
    (folder / "contracts" / "marts").mkdir(parents=True)
    for file in _FILES:
        shutil.copyfile(REPOSITORY / "contracts" / file, folder / "contracts" / file)
    return folder


@dataclass(kw_only=True)
class Course:
    """Processes under fire, and what they leave behind.

    Attributes:
        kills: how often both were killed while at work.
    """

    settings: Settings
    payments: int
    seconds: float
    every: float
    catalog: Catalog
    kills: int = 0
    took: float = 0.0
    _begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings, *, payments: int, seconds: float, every: float) -> Course:
        catalog = load_catalog(settings.contracts)
        return cls(settings=settings, payments=payments, seconds=seconds, every=every, catalog=catalog)

    @property
    def log(self) -> Path:
        return self.settings.home / "worker.log"

    def run(self, report: Callable[[str], None]) -> None:
        """Send and post all payments; kill both processes every so many seconds, for so many seconds."""
        for step in admin.plan_all(
            derived.wanted(self.catalog.datasets), bootstrap_servers=self.settings.bootstrap_servers
        ):
            admin.apply(step, bootstrap_servers=self.settings.bootstrap_servers)
        began = time.monotonic()
        # As fast as they come while they are killed; whatever is left comes afterwards.
        produce = ("produce", str(self.payments), str(len(source_of(self.catalog, self.payments)) / self.seconds))
        with self.log.open("ab") as log:
            try:
                producer, worker = self._start(produce, log), self._start(("work",), log)
                while time.monotonic() - began < self.seconds:
                    time.sleep(min(self.every, max(0.0, self.seconds - (time.monotonic() - began))))
                    for process in (worker, producer):
                        process.kill()
                        process.wait()
                    self.kills += 1
                    report(f"{time.monotonic() - began:.0f} s: killed {self.kills} times")
                    producer, worker = self._start(produce, log), self._start(("work",), log)
                self._finish(producer)
                worker.kill()
                worker.wait()
                report("all is sent")
                self._finish(self._start(("drain",), log))
            finally:
                for process in self._begun:
                    if process.poll() is None:
                        process.kill()
                        process.wait()
        self.took = time.monotonic() - began

    def _start(self, arguments: tuple[str, ...], log: IO[bytes]) -> subprocess.Popen[bytes]:
        variables = environment(
            home=self.settings.home,
            project=self.settings.project,
            servers=self.settings.bootstrap_servers,
            more={
                "LAKEHOUSE_URI": self.settings.lake_uri,
                "SCHEMA_REGISTRY_URL": self.settings.schema_registry_url,
            },
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.worker", *arguments],
            cwd=REPOSITORY,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self._begun.append(process)
        return process

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait(_PATIENCE_S)
        assert code == 0, f"{process.args} ended with {code}:\n{self.log.read_text()[-4000:]}"

    def books(self) -> Books:
        ledger = next(mart for mart in self.catalog.marts if mart.name == "ledger")
        return Books(folder=Path(Storage.at(self.settings.lake_uri).table("gold", specs.gold(ledger).name)))

    def sent(self) -> pd.DataFrame:
        dataset = self.catalog.dataset("payments")
        (log,) = (self.settings.home / "oracle" / dataset.topic.name).rglob("*.ndjson")
        return delivered(log, source_of(self.catalog, self.payments))

    def account(self) -> Account:
        dataset, servers = self.catalog.dataset("payments"), self.settings.bootstrap_servers
        return account(
            dataset,
            catalog=self.catalog,
            storage=Storage.at(self.settings.lake_uri),
            topic=lambda: Broker(servers).topic(dataset.topic.name),
            bootstrap_servers=servers,
            registry=self.settings.schema_registry_url,
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of all published versions, and of the last one against what was sent; `refused` counts batches."""

    events: int
    refused: int
    versions: list[Version]
    problems: list[str]


def judge(course: Course) -> Verdict:
    books, sent = course.books(), course.sent()
    versions = list(books.versions())
    problems = [f"version {found.version}: {text}" for found in versions for text in found.problems]
    grown = [found.postings for found in versions]
    if grown != sorted(grown):
        problems.append("a version has fewer postings than the one before")
    problems += differences(books.postings(), expected(sent))
    account = course.account()
    problems += [*account.problems, *([f"{account.unaccounted} offsets unaccounted"] if account.unaccounted else [])]
    return Verdict(
        events=len(sent), refused=course.log.read_text().count("refused: "), versions=versions, problems=problems
    )
