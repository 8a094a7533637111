"""Forgetting a subject: erased from every layer, kept from coming back, and a search of the whole lake that proves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.lifecycle.erase import Erased, erase
from dagster_project.lifecycle.find import Found, find
from dagster_project.lifecycle.search import Searched, search
from dagster_project.lifecycle.subject import Subject
from dagster_project.outbox.withhold import withhold
from dagster_project.refine.restate import restate
from dagster_project.topics.broker import Broker
from dagster_project.topics.derived import dead_letters
from dagster_project.topics.offsets import Offsets

# Rounds after the first: a run that had read the rows before may have written them in the middle of it.
_MORE = 2


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What Kafka still has, which nobody can take out of it.

    Attributes:
        until: when it deletes the last of them, at the earliest.
    """

    topic: str
    records: int
    until: str


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was done, and what the search found.

    Attributes:
        columns: that told the subject; their values are nowhere in here.
        rows: by table, rows that this call took out.
        files: of older versions, deleted from the store by this call.
        offsets: all that the dataset has ever forgotten, and never reads again.
        kafka: of all of these, what Kafka still has.
        objects, bytes: that the search has looked at.
        hits: objects of the lake that hold the subject: none, or it is not forgotten.
    """

    dataset: str
    columns: tuple[str, ...]
    rows: dict[str, int]
    files: int
    offsets: int
    kafka: tuple[Remains, ...]
    objects: int
    bytes: int
    hits: tuple[str, ...]


def forget(
    dataset: Dataset,
    subject: Subject,
    *,
    by: str,
    catalog: Catalog,
    storage: Storage,
    bootstrap_servers: str,
    confirm: Callable[[Found], object] = lambda _: None,
    report: Callable[[str], None] = lambda _: None,
) -> Forgotten:
    """Forget a subject. Safe beside every other run, and after a kill at any point the next call completes it.

    Args:
        by: who asks for it, for the ledger.
        confirm: told what was found before anything is erased; raises to leave all as it is.
        report: told each step.

    Raises:
        LakeError: the store cannot be read or written.
        StaleCursorError: others commit all the time; the next call goes on.
        KafkaError: the broker does not answer; the lake is without the rows, and the next call does the rest.
    """
    for version in catalog.versions(dataset.name):
        if version.protected:
            report(f"silver/{version.table}: its pseudonyms")
            restate(version, storage=storage)
    report(f"{dataset.name}: rows about the subject")
    found = find(dataset, subject, storage=storage)
    confirm(found)
    erased = erase(dataset, subject, found, by=by, catalog=catalog, storage=storage, report=report)
    rows, files = erased.rows, erased.files
    for _ in range(_MORE):
        found = find(dataset, subject, storage=storage)
        if not any(found.rows.values()):
            break
        erased = erase(dataset, subject, found, by=by, catalog=catalog, storage=storage, report=report)
        rows = {name: count + rows.get(name, 0) for name, count in erased.rows.items()}
        files += erased.files
    report("the dead-letter queue, and what Kafka keeps")
    kafka = _remains(dataset, erased, storage=storage, bootstrap_servers=bootstrap_servers)
    searched = _searched(subject, storage=storage, report=report)
    return Forgotten(
        dataset=dataset.name,
        columns=subject.names,
        rows=rows,
        files=files,
        offsets=len(erased.offsets),
        kafka=kafka,
        objects=searched.objects,
        bytes=searched.bytes,
        hits=tuple(sorted({*searched.hits, *erased.kept})),
    )


def _remains(dataset: Dataset, erased: Erased, *, storage: Storage, bootstrap_servers: str) -> tuple[Remains, ...]:
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    topic = Broker(bootstrap_servers).topics([dataset.topic.name]).get(dataset.topic.name)
    if cursor is None or topic is None or topic.topic_id != cursor.topic_id:
        return ()
    left = erased.offsets & Offsets.of_bounds(topic.first, topic.end)
    letters = withhold(dataset, erased.offsets, topic_id=topic.topic_id, bootstrap_servers=bootstrap_servers)
    found = [Remains(topic=topic.name, records=len(left), until=erased.until)] if left else []
    if not letters.is_empty():
        last = letters.select((pl.col("written_at") + dataset.slo.retention).max().dt.strftime("%Y-%m-%d %H:%M UTC"))
        found.append(Remains(topic=dead_letters(dataset).name, records=len(letters), until=last.item()))
    return tuple(found)


def _searched(subject: Subject, *, storage: Storage, report: Callable[[str], None]) -> Searched:
    def tell(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            report(f"searched {done:,} of {total:,} objects")

    return search(subject, storage=storage, report=tell)
