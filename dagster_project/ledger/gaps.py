"""Gaps of the offsets that Bronze has read: which kind each is, as it was seen, or asked of the broker while it still knows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED, Entry, Ledger, write
from dagster_project.topics.batches import Kind
from dagster_project.topics.broker import Broker
from dagster_project.topics.log import read_log
from dagster_project.topics.offsets import Offsets, place


def record_gaps(
    dataset: Dataset,
    *,
    bronze: Table,
    read: Offsets,
    start: Mapping[int, int],
    end: Mapping[int, int],
    since: Mapping[int, int],
    seen: Mapping[Kind, Offsets],
    batch_id: int,
    storage: Storage,
    bootstrap_servers: str,
) -> int:
    """Write the gaps from where the ledger ends up to `end`; where there are none, not even the broker is asked.

    Args:
        read: all offsets that this version of Bronze accounts for, whichever runs have read them.
        start, end: by Kafka partition, Bronze's first and next offset, of those that this run reads.
        since, seen: the gaps that this run has seen itself, by kind, and from which offsets on it looked.
        batch_id: of Bronze's last batch.

    Returns:
        How many runs of offsets were written.

    Raises:
        KafkaError: the broker cannot be asked; the next call looks at the same offsets again.
        StaleCursorError: another run records gaps of the same dataset.
    """
    topic = Broker(bootstrap_servers).topic(dataset.topic.name)
    table = Table.find(specs.ledger(dataset), storage=storage)
    files = None if table is None else table.files().filter(pl.col("kind") != "expired")
    ledger = Ledger.read(table, topic, files=files)
    known = ledger.offsets("control", "aborted", "compacted", "lost", "unseen") | ledger.erased()
    rows = int(bronze.files()["num_records"].sum()) + bronze.cursors().get(EXPIRED, 0)
    if len(read) == rows + len(known & read):
        return 0
    begin = {partition: max(ledger.covered.get(partition, 0), start[partition]) for partition in end}
    window = Offsets.of_bounds(begin, end)
    if not window:
        return 0
    # What a run before this one has read and did not live to record.
    until = {partition: min(max(begin[partition], since[partition]), end[partition]) for partition in end}
    older = Offsets.of_bounds(begin, until)
    kept = {partition: max(offset, topic.first.get(partition, 0)) for partition, offset in begin.items()}
    log = read_log(topic.name, start=kept, end=until, bootstrap_servers=bootstrap_servers)
    unseen = older - Offsets.union(*log.values()) - known
    compacted = log["compacted"]
    if compacted or unseen:
        # Of what the broker no longer has, only that is a gap which had gone before it was read.
        there = _read(bronze, begin) | Ledger.read(table, topic, kind="expired").offsets("expired")
        compacted, unseen = compacted - there - known, unseen - there
    entries = [
        Entry(offsets=log["control"] | (seen["control"] & window), kind="control"),
        Entry(offsets=log["aborted"] | (seen["aborted"] & window), kind="aborted"),
        Entry(offsets=compacted | (seen["compacted"] & window), kind="compacted"),
        Entry(offsets=unseen, kind="unseen", note="deleted from the broker before it was looked at"),
    ]
    if table is None:
        table = Table.open(specs.ledger(dataset), storage=storage)
        if table.cursors():
            raise StaleCursorError(
                f"ledger/{dataset.name} was made by another run in this moment, and what it says was not looked at",
                expected="to be the only run that records gaps; nothing was written",
                remedy="nothing: the next run looks at the same offsets again",
            )
    write(table, topic, entries, batch_id=batch_id, covered=end)
    return sum(len(entry.offsets.first) for entry in entries)


def _read(bronze: Table, begin: Mapping[int, int]) -> Offsets:
    """Offsets with a row in Bronze, at least those from `begin` on."""
    files = bronze.files().filter(pl.col("max._kafka_offset") >= min(begin.values()))
    return Offsets.of_places(bronze.rows(files).select(place()).collect(engine="in-memory")["_place"].sort().to_numpy())
