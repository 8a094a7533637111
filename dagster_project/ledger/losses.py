"""Losses: offsets that the broker deleted before they were read. Nothing goes on past them until a person says so."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import Entry, Ledger, write
from dagster_project.topics.broker import Topic
from dagster_project.topics.offsets import Offsets


def deleted(following: Mapping[int, int], topic: Topic) -> Offsets:
    """Offsets that were never read and are no longer there; `following` are the next ones to read."""
    first = {partition: topic.first[partition] for partition in following if partition in topic.first}
    return Offsets.of_bounds(following, first)


def declare(
    dataset: Dataset, topic: Topic, *, losses: Offsets, reason: str, by: str, batch_id: int, storage: Storage
) -> Offsets:
    """Write offsets into the ledger as lost, once; returns those that were not in it before.

    Raises:
        StaleCursorError: another run has written to the ledger in this moment; nothing was written.
    """
    table = Table.open(specs.ledger(dataset), storage=storage)
    ledger = Ledger.read(table, topic, kind="lost")
    fresh = losses - ledger.offsets("lost")
    if fresh:
        entry = Entry(offsets=fresh, kind="lost", note=reason, declared_by=by)
        # The cursors stay; they are written again so that two declarations at once conflict.
        partitions = fresh.by_partition()
        covered = {partition: ledger.covered.get(partition, 0) for partition in partitions}
        write(table, topic, [entry], batch_id=batch_id, covered=covered)
    return fresh
