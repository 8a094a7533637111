"""The one rule, proven: every Kafka offset below the cursor has exactly one place.

Everything is computed from the tables and the broker; nothing is believed because a run said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from dagster_project.accounting.contents import check_contents
from dagster_project.accounting.fates import fates
from dagster_project.accounting.gaps import gaps
from dagster_project.accounting.letters import Letters, check_letters
from dagster_project.accounting.marts import check_marts
from dagster_project.accounting.problems import damage
from dagster_project.accounting.snapshot import Snapshot
from dagster_project.accounting.tiles import Tiling, by_partition, tiles
from dagster_project.accounting.witnesses import Witnesses
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.lake.storage import Storage
from dagster_project.topics.broker import Topic
from dagster_project.topics.offsets import Offsets


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where the offsets of a topic are. The counts of offsets add up to `offsets`.

    Attributes:
        offsets: from the first that was ever to be read up to the cursor, over all Kafka partitions.
        bronze_rows: rows of Bronze.
        expired: offsets whose rows were deleted from Bronze after the retention; the ledger has what became of them.
        silver_rows: offsets that are a live row in Silver.
        superseded: a newer version or an earlier copy of the same key is in Silver.
        quarantined: poison in Bronze, or a row in quarantine with the rules that it broke.
        tombstones: deletes.
        gaps: offsets that hold no message, the sum of the next four.
        control: marks of the ends of transactions.
        aborted: messages of aborted transactions.
        compacted: taken away by the broker's compaction.
        unproven_gaps: what they were cannot be known: the broker had deleted them before it was asked.
        lost: declared lost by a person.
        forgotten: erased from every layer because a person asked for it.
        pending: in Bronze, and not yet looked at by Silver, or on the way there from quarantine.
        held: in Bronze, and held back by the gate until a table partition keeps to its rules, or a region's breaker closes.
        unaccounted: without a proven place, or with more than one.
        accounted: nothing is unaccounted, and there is no other problem, such as a row that came from no offset.
        gold_rows: rows in all marts of the dataset.
        gold_stale: table partitions of marts that are older than Silver.
        letters: messages of the dead-letter topic; `None` if it was not looked at.
        letters_pending: poison that is still to be sent there.
        partitions: the same counts for each Kafka partition.
        problems: each kind of damage, with its first places.
    """

    dataset: str
    offsets: int
    bronze_rows: int
    expired: int
    silver_rows: int
    superseded: int
    quarantined: int
    tombstones: int
    gaps: int
    control: int
    aborted: int
    compacted: int
    unproven_gaps: int
    lost: int
    forgotten: int
    pending: int
    held: int
    unaccounted: int
    gold_rows: int
    gold_stale: int
    letters: int | None
    letters_pending: int
    accounted: bool
    partitions: tuple[Tiling, ...]
    problems: tuple[str, ...]


def account(
    dataset: Dataset,
    *,
    catalog: Catalog,
    storage: Storage,
    topic: Callable[[], Topic | None] | None,
    bootstrap_servers: str,
    payloads: bool = False,
    deep: bool = False,
    registry: str = "",
    report: Callable[[str], None] = lambda _: None,
) -> Account:
    """Account for every offset of a dataset's topic. What is wrong becomes a problem of the account, not an error.

    Right also while others write: what they do meanwhile is pending or unknown, and no problem.

    Args:
        topic: describes the topic, `None` if there is none; asked once the tables were read. `None` instead of it to
            prove what can be proven from the tables alone.
        payloads: compare keys and payloads with the broker's, and values with their payloads, not only offsets.
        deep: compute the marts again and compare their values.
        registry: URL of the schema registry, where `payloads` are compared and the contract's wire format needs one.
        report: told each step.

    Raises:
        KafkaError: the broker does not answer.
        RegistryError: nobody says what a schema is.
    """

    def look(*, thorough: bool) -> Account:
        report(f"{dataset.table}: files and logs of the tables" + (", each file to its end" if thorough else ""))
        tables = Snapshot.take(dataset, storage=storage, thorough=thorough)
        cursor = tables.cursor
        witnesses = Witnesses.ask(dataset, tables, topic=topic, storage=storage)
        start, end = ({}, {}) if cursor is None else (cursor.start, cursor.next)
        window = Offsets.of_bounds(start, end)
        report(f"{dataset.table}: rows of Bronze, Silver and quarantine")
        lost, forgotten = witnesses.ledger.offsets("lost"), witnesses.ledger.offsets("forgotten")
        found = fates(
            dataset,
            bronze=tables.bronze,
            silver=tables.silver,
            quarantine=tables.quarantine,
            expired=witnesses.ledger.expired(),
            lost=lost,
            forgotten=forgotten,
        )
        if witnesses.topic is not None:
            report(f"{dataset.table}: the broker's log")
        log = {} if cursor is None else witnesses.log(cursor, bootstrap_servers=bootstrap_servers)
        covered = {p: min(max(witnesses.ledger.covered.get(p, 0), start[p]), offset) for p, offset in end.items()}
        recorded = Offsets.of_bounds(start, covered)
        holes = gaps(
            Offsets.union(found.bronze, found.expired - lost, forgotten),
            window=window,
            log=log,
            ledger=witnesses.ledger,
            covered=recorded,
        )
        differences: list[str] = []
        if payloads and cursor is not None:
            report(f"{dataset.table}: keys and payloads, against the broker's; values, against their payloads")
            of = None if witnesses.topic is None else witnesses.topic.name
            differences = check_contents(
                dataset,
                tables,
                topic=of,
                storage=storage,
                bootstrap_servers=bootstrap_servers,
                registry=registry,
            )
        marts = check_marts(dataset, catalog=catalog, storage=storage, deep=deep, thorough=thorough, report=report)
        letters = Letters()
        if witnesses.topic is not None and tables.bronze.table is not None:
            letters = check_letters(dataset, tables.bronze, forgotten=forgotten, bootstrap_servers=bootstrap_servers)
        problems = [
            *tables.problems(),
            *witnesses.problems,
            *found.problems(),
            *damage(found.bronze - window, "in Bronze, but not below the cursor"),
            *holes.problems(),
            *differences,
            *marts.problems,
            *letters.problems,
        ]
        places = tiles(found, holes, window=window, forgotten=forgotten)
        counts = {name: len(offsets) for name, offsets in places.items()}
        return Account(
            dataset=dataset.table,
            offsets=len(window),
            bronze_rows=found.rows,
            expired=len(found.expired),
            **counts,
            gaps=sum(counts[name] for name in ("control", "aborted", "compacted", "unproven_gaps")),
            gold_rows=marts.rows,
            gold_stale=marts.stale,
            letters=letters.found,
            letters_pending=letters.pending,
            accounted=counts["unaccounted"] == 0 and not problems,
            partitions=by_partition(places, start=start, end=end),
            problems=tuple(problems),
        )

    try:
        return look(thorough=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # A file's content cannot be read. To read each to its end tells which, and takes long: only where it must be.
        return look(thorough=True)
