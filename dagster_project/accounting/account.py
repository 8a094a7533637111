"""The one rule, proven: every Kafka offset below the cursor has exactly one place.

Everything is computed from the tables and the broker; nothing is believed because a run said so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagster_project.accounting.contents import broker_differences, value_differences
from dagster_project.accounting.fates import fates
from dagster_project.accounting.letters import Letters, check_letters
from dagster_project.accounting.marts import check_marts
from dagster_project.accounting.soundness import Evidence, examine
from dagster_project.accounting.tiling import gaps
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import OffsetLossError, TopicIdentityError
from dagster_project.ingest.cursor import Cursor, resume
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.ledger.ledger import Ledger
from dagster_project.refine.plan import progress
from dagster_project.topics.broker import Topic
from dagster_project.topics.log import read_log
from dagster_project.topics.offsets import Offsets

# Runs of offsets that a problem names: enough to find the damage, few enough to read.
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Where the offsets of one Kafka partition are, from `start` to before `next`; the counts add up to all of them."""

    partition: int
    start: int
    next: int
    silver_rows: int
    superseded: int
    quarantined: int
    tombstones: int
    control: int
    aborted: int
    compacted: int
    unproven_gaps: int
    lost: int
    pending: int
    unaccounted: int


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where the offsets of a topic are. The counts of offsets add up to `offsets`.

    Attributes:
        offsets: from the first that was ever to be read up to the cursor, over all Kafka partitions.
        bronze_rows: rows of Bronze.
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
        pending: in Bronze, and not yet looked at by Silver.
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
    pending: int
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
    topic: Topic | None,
    bootstrap_servers: str,
    payloads: bool = False,
    deep: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Account:
    """Account for every offset of a dataset's topic. What is wrong becomes a problem of the account, not an error.

    Args:
        topic: as the broker describes it now; `None` to prove what can be proven from the tables alone.
        payloads: compare keys and payloads with the broker's, and values with their payloads, not only offsets.
        deep: compute the marts again and compare their values.
        report: told each step.

    Raises:
        KafkaError: the broker does not answer.
    """
    report(f"{dataset.name}: files and logs of the tables")
    # What is computed before what it is computed from: a run in between adds what is pending, not what came from nowhere.
    kinds = (specs.ledger, specs.silver, specs.quarantine, specs.bronze)
    ledger_table, silver, quarantine, bronze = (examine(spec(dataset), storage=storage) for spec in kinds)
    problems = [problem for item in (bronze, silver, quarantine, ledger_table) for problem in item.problems]
    cursor = None if bronze.table is None else Cursor.from_table(bronze.table.cursors())
    ledger, log_topic, found_out = _ledger(dataset, ledger_table, cursor, topic)
    problems += found_out
    start, end = ({}, {}) if cursor is None else (cursor.start, cursor.next)
    report(f"{dataset.name}: rows of Bronze, Silver and quarantine")
    found = fates(dataset, bronze=bronze, silver=silver, quarantine=quarantine)
    problems += damage(found.lost, "neither in Silver, superseded, nor quarantined")
    problems += damage(found.doubled, "in more than one place")
    problems += [
        line for layer, strays in found.strays.items() for line in damage(strays, f"in {layer}, but not in Bronze")
    ]
    if found.doubled_keys:
        problems.append(f"{found.doubled_keys} merge keys have more than one row in Silver")
    window = Offsets.of_bounds(start, end)
    problems += damage(found.bronze - window, "in Bronze, but not below the cursor")
    log = {}
    if log_topic is not None and cursor is not None:
        report(f"{dataset.name}: the broker's log")
        kept = {partition: max(offset, log_topic.first.get(partition, offset)) for partition, offset in start.items()}
        until = {partition: min(offset, log_topic.end.get(partition, offset)) for partition, offset in end.items()}
        log = read_log(log_topic.name, start=kept, end=until, bootstrap_servers=bootstrap_servers)
    covered = {p: min(max(ledger.covered.get(p, 0), start[p]), offset) for p, offset in end.items()}
    holes = gaps(found.bronze, window=window, log=log, ledger=ledger, covered=Offsets.of_bounds(start, covered))
    problems += damage(holes.missing, "on the broker, but not in Bronze")
    problems += damage(holes.unexplained, "neither in Bronze nor known as gaps")
    problems += damage(holes.foreign, "in Bronze, but on the broker they are no committed message")
    problems += _ahead(dataset, cursor, {"silver": silver, "quarantine": quarantine}, ledger=ledger)
    if payloads and cursor is not None:
        report(f"{dataset.name}: keys and payloads, against the broker's; values, against their payloads")
        if log_topic is not None:
            different = broker_differences(bronze, log_topic, cursor, bootstrap_servers=bootstrap_servers)
            problems += damage(different, "in Bronze with another key or payload than on the broker")
        values = value_differences(dataset, bronze=bronze, silver=silver, quarantine=quarantine, storage=storage)
        problems += [line for what, offsets in values.items() for line in damage(offsets, what)]
    marts = check_marts(dataset, catalog=catalog, storage=storage, deep=deep, report=report)
    letters = Letters()
    if log_topic is not None and bronze.table is not None:
        letters = check_letters(dataset, bronze, bootstrap_servers=bootstrap_servers)
    problems += [*marts.problems, *letters.problems]
    tiles = {
        "silver_rows": found.silver & window,
        "superseded": found.superseded & window,
        "quarantined": found.quarantined & window,
        "tombstones": found.tombstones & window,
        "control": holes.control,
        "aborted": holes.aborted,
        "compacted": holes.compacted,
        "unproven_gaps": holes.unproven,
        "lost": holes.lost,
        "pending": found.pending & window,
        "unaccounted": Offsets.union(found.lost & window, found.doubled & window, holes.missing, holes.unexplained),
    }
    counts = {name: len(offsets) for name, offsets in tiles.items()}
    by_partition = {name: offsets.by_partition() for name, offsets in tiles.items()}
    return Account(
        dataset=dataset.name,
        offsets=len(window),
        bronze_rows=found.rows,
        **counts,
        gaps=sum(counts[name] for name in ("control", "aborted", "compacted", "unproven_gaps")),
        gold_rows=marts.rows,
        gold_stale=marts.stale,
        letters=letters.found,
        letters_pending=letters.pending,
        accounted=counts["unaccounted"] == 0 and not problems,
        partitions=tuple(
            Tiling(
                partition=partition,
                start=start[partition],
                next=end[partition],
                **{name: of.get(partition, 0) for name, of in by_partition.items()},
            )
            for partition in sorted(end)
        ),
        problems=tuple(problems),
    )


def damage(offsets: Offsets, what: str) -> list[str]:
    """One line that counts and names offsets, or none where there are none."""
    return [f"{len(offsets)} offsets are {what}: {offsets.named(_NAMED)}"] if offsets else []


def _ledger(
    dataset: Dataset, table: Evidence, cursor: Cursor | None, topic: Topic | None
) -> tuple[Ledger, Topic | None, list[str]]:
    """The ledger; the topic, if its log can prove anything; and what is wrong with either."""
    own = topic
    if own is None and cursor is not None:
        # Without a broker, as Bronze knew it.
        own = Topic(name=dataset.topic.name, cluster_id=cursor.cluster_id, topic_id=cursor.topic_id, first={}, end={})
    ledger = Ledger()
    if own is None:
        return ledger, None, []
    try:
        ledger = Ledger.read(table.table, own, files=table.files)
        resume(cursor, own, dataset=dataset.name, lost=ledger.offsets("lost"))
    except OffsetLossError as error:
        return ledger, topic, [error.found]
    except TopicIdentityError as error:
        return ledger, None, [error.found]
    return ledger, topic, []


def _ahead(dataset: Dataset, cursor: Cursor | None, tables: Mapping[str, Evidence], *, ledger: Ledger) -> list[str]:
    """Tables that were computed from more than there is: what they were computed from has lost commits."""
    last = -1 if cursor is None else cursor.batch_id
    end = {} if cursor is None else cursor.next
    newest = {layer: max(progress(item.table).values(), default=-1) for layer, item in tables.items()}
    return [
        *(
            f"{layer}/{dataset.name} was computed from batch {batch} of Bronze, which ends at batch {last}"
            for layer, batch in newest.items()
            if batch > last
        ),
        *(
            f"ledger/{dataset.name} knows Kafka partition {partition} up to offset {offset}, "
            f"Bronze's cursor is at {end.get(partition, 0)}"
            for partition, offset in ledger.covered.items()
            if offset > end.get(partition, 0)
        ),
    ]
