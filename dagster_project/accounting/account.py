"""The one rule, proven: every Kafka offset below the cursor has exactly one place.

Everything is computed from the tables and the broker; nothing is believed because a run said so.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dagster_project.accounting.broker_log import CONTENT, broker_log
from dagster_project.accounting.fates import fates
from dagster_project.accounting.places import PLACE, by_partition, damage, places
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.cursor import Cursor, resume
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.merge import doubled_keys
from dagster_project.refine.plan import pending_gold
from dagster_project.topics.broker import Topic


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
        gaps: offsets that hold no message: control records, aborted transactions, compaction.
        lost: declared lost by a person.
        pending: in Bronze, and not yet looked at by Silver.
        unaccounted: without a proven place, or with more than one.
        accounted: nothing is unaccounted, and there is no other problem, such as a row that came from no offset.
        gold_rows: rows in all marts of the dataset.
        gold_stale: table partitions of marts that are older than Silver.
        unproven_gaps: of `gaps`, those that the broker no longer has and so cannot confirm.
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
    lost: int
    pending: int
    unaccounted: int
    gold_rows: int
    gold_stale: int
    unproven_gaps: int
    accounted: bool
    problems: tuple[str, ...]


def account(
    dataset: Dataset,
    *,
    catalog: Catalog,
    storage: Storage,
    topic: Topic | None,
    bootstrap_servers: str,
    payloads: bool = False,
) -> Account:
    """Account for every offset of a dataset's topic.

    Args:
        topic: as the broker describes it now; `None` to prove what can be proven from the tables alone.
        payloads: compare keys and payloads with the broker's too, not only offsets.

    Raises:
        TopicIdentityError, OffsetLossError: the topic is not the one that Bronze was read from, or has lost events.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    silver = Table.find(specs.silver(dataset), storage=storage)
    quarantine = Table.find(specs.quarantine(dataset), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    if topic is not None:
        resume(cursor, topic)
    problems: list[str] = []
    rows = fates(dataset, bronze=bronze, silver=silver, quarantine=quarantine)
    counts: dict[str, int] = dict(rows["fate"].value_counts().iter_rows())
    problems += damage(rows.filter(pl.col("fate") == "unaccounted"), "neither in Silver, superseded, nor quarantined")
    problems += damage(rows.filter(pl.col("fate") == "doubled"), "in more than one place")
    for layer, table in (("silver", silver), ("quarantine", quarantine)):
        found = places(table).join(rows, on=PLACE, how="anti")
        problems += damage(found, f"in {layer}, but not in Bronze")
    doubles = 0 if silver is None else doubled_keys(dataset, silver)
    if doubles:
        problems.append(f"{doubles} merge keys have more than one row in Silver")
    problems += damage(_outside(rows, cursor), "in Bronze, but not below the cursor")
    offsets = 0 if cursor is None else sum(end - cursor.start[partition] for partition, end in cursor.next.items())
    distinct = rows.select(PLACE).n_unique()
    missing, unproven = 0, offsets - distinct
    if topic is not None and cursor is not None:
        log = broker_log(topic, cursor, bootstrap_servers=bootstrap_servers, payloads=payloads)
        absent = log.join(rows, on=PLACE, how="anti")
        missing = len(absent)
        problems += damage(absent, "on the broker, but not in Bronze")
        problems += _differences(bronze, log) if payloads else []
        # Offsets that the broker has deleted since can no longer be compared; those in Bronze need no comparison.
        gone = sum(max(min(topic.first[p], cursor.next[p]) - cursor.start[p], 0) for p in cursor.next)
        kept = rows.join(by_partition(first=topic.first), on="_kafka_partition")
        unproven = gone - kept.filter(pl.col("_kafka_offset") < pl.col("first")).height
    marts = catalog.marts_of(dataset.name)
    golds = {f"gold/{mart.name}": Table.find(specs.gold(mart), storage=storage) for mart in marts}
    silvers = {f"silver/{other.name}": Table.find(specs.silver(other), storage=storage) for other in catalog.datasets}
    doubled = rows.filter(pl.col("fate") == "doubled").select(PLACE).n_unique()
    unaccounted = counts.get("unaccounted", 0) + doubled + missing
    return Account(
        dataset=dataset.name,
        offsets=offsets,
        bronze_rows=len(rows),
        silver_rows=counts.get("silver", 0),
        superseded=counts.get("superseded", 0),
        quarantined=counts.get("quarantined", 0),
        tombstones=counts.get("tombstone", 0),
        gaps=offsets - distinct - missing,
        lost=0,
        pending=counts.get("pending", 0),
        unaccounted=unaccounted,
        gold_rows=sum(int(gold.files()["num_records"].sum()) for gold in golds.values() if gold is not None),
        gold_stale=sum(len(pending_gold(mart, {**golds, **silvers})) for mart in marts),
        unproven_gaps=unproven,
        accounted=unaccounted == 0 and not problems,
        problems=tuple(problems),
    )


def _outside(rows: pl.DataFrame, cursor: Cursor | None) -> pl.DataFrame:
    if cursor is None:
        return rows
    inside = pl.col("_kafka_offset").is_between("start", pl.col("next") - 1)
    bounds = by_partition(start=cursor.start, next=cursor.next)
    return rows.join(bounds, on="_kafka_partition", how="left").filter(~inside.fill_null(False))


def _differences(bronze: Table | None, log: pl.DataFrame) -> list[str]:
    assert bronze is not None
    messages = bronze.rows().select(*PLACE, CONTENT).collect(engine="in-memory")
    different = log.join(messages, on=PLACE).filter(pl.col("content") != pl.col("content_right"))
    return damage(different, "in Bronze with another key or payload than on the broker")
