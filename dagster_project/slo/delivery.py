"""Latency and completeness: what became of each Bronze batch, counted once, in the order of batches.

A batch is judged when all of its rows are visible in Gold, or when it has waited for longer than anybody should: then what is not
visible counts as late, and what Silver has not read as missing. Cursors in the table of measurements say how far this has come.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.model import REGION_COLUMN, Catalog, Dataset, Mart
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.log import Commit
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_keys
from dagster_project.refine.plan import pending_files, progress
from dagster_project.slo.cached import Shown, nothing
from dagster_project.slo.measurement import Measurement
from dagster_project.slo.objectives import Name

# How long a batch may be on its way before what is missing of it counts as such; longer if the contract allows more.
_PATIENCE = dt.timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What was counted, and the cursors that say so."""

    measurements: Sequence[Measurement] = ()
    cursors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A commit of Silver that read a table partition up to a batch, or one of a mart that read Silver up to a version.

    Attributes:
        value: the batch, or the version of Silver.
        changed: rows of the table partition are other ones since.
    """

    value: int
    version: int
    at: dt.datetime
    changed: bool = True


_Steps = Mapping[Key, Sequence[_Step]]


def measure_delivery(
    dataset: Dataset,
    *,
    catalog: Catalog,
    known: Mapping[str, int],
    storage: Storage,
    now: dt.datetime,
    cached: Shown = nothing,
) -> Delivered:
    """Judge the batches that have become visible in all marts which come from this dataset alone, or are overdue.

    The first look at a dataset counts nothing: what was there before has nobody waiting for it.

    Args:
        known: cursors of the table of measurements.
        cached: since when versions of marts are in the cache.

    Raises:
        LakeError: a table cannot be read.
    """
    # What is computed before what it is computed from: what comes in between is judged at the next look.
    version = serving(catalog, dataset.name, storage=storage)
    golds = {mart: Table.find(specs.gold(mart), storage=storage) for mart in _marts(dataset, catalog)}
    silver = Table.find(specs.silver(version), storage=storage)
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    if bronze is None or cursor is None:
        return Delivered()
    batch = f"delivered/{dataset.name}/{cursor.topic_id}"  # of a topic that was made anew all begins anew
    if (done := known.get(batch)) is None:
        places = {f"{batch}/{version.table}": silver, **{f"{batch}/{mart.name}": gold for mart, gold in golds.items()}}
        return Delivered(cursors={batch: cursor.batch_id, **{name: _end(table) for name, table in places.items()}})
    if done >= cursor.batch_id:
        return Delivered()
    refined = _history(silver, "bronze", known.get(f"{batch}/{version.table}"))
    computed = {
        mart: _history(gold, f"silver/{version.table}", known.get(f"{batch}/{mart.name}"))
        for mart, gold in golds.items()
    }
    shown = _shown(refined, {mart: _in_cache(own, mart, golds[mart], cached) for mart, own in computed.items()})
    waiting = pending_files(version, bronze, _through(bronze, shown, done))
    through = _frontier(waiting, bronze, last=cursor.batch_id, overdue=now - max(_PATIENCE, dataset.slo.latency))
    if through <= done:
        return Delivered()
    since = _first(refined, beyond=through, table=silver)
    moved = {batch: through, f"{batch}/{version.table}": since}
    moved |= {
        f"{batch}/{mart.name}": _first(computed[mart], beyond=since - 1, table=gold) for mart, gold in golds.items()
    }
    new = (pl.col("max._batch_id") > done) & (pl.col("min._batch_id") <= through)
    rows = (
        bronze.rows(bronze.files().filter(new))
        .filter(pl.col("_batch_id").is_between(done, through, closed="right"))
        .select(*specs.KEYS, "_batch_id", "_kind", "_kafka_timestamp")
        .collect(engine="in-memory")
    )
    if rows.is_empty():  # control records alone
        return Delivered(cursors=moved)
    missing = _missing(version, rows, silver, storage=storage, done=done, through=through)
    measured = [_completeness(dataset, len(rows), missing), *_latencies(dataset, rows, shown, now=now)]
    return Delivered(measurements=measured, cursors=moved)


def _marts(dataset: Dataset, catalog: Catalog) -> list[Mart]:
    """Marts that follow each change of a dataset, table partition by table partition: what reads others may wait for them."""
    return [
        mart
        for mart in catalog.marts
        if mart.partitioned_by and dataset.name in mart.datasets and catalog.origins(mart) == frozenset({dataset.name})
    ]


def _end(table: Table | None) -> int:
    """The version that comes next."""
    return 0 if table is None else table.version + 1


def _history(table: Table | None, prefix: str, first: int | None) -> _Steps:
    """By table partition, the commits that moved its cursor of a prefix on, the older first.

    Args:
        first: the version to begin with, if the log still has it; `None`: the first of the log.
    """
    found: dict[Key, list[_Step]] = {}
    for commit in () if table is None else _commits(table, first):
        changed = cursor_keys(commit.cursors, "changed")
        at = dt.datetime.fromtimestamp(commit.timestamp_ms / 1000, dt.UTC)
        for key, value in cursor_keys(commit.cursors, prefix).items():
            own = found.setdefault(key, [])
            if not own or value > own[-1].value:  # what is done again was there before
                own.append(_Step(value=value, version=commit.version, at=at, changed=key in changed))
    return found


def _commits(table: Table, first: int | None) -> list[Commit]:
    if first is not None and first <= table.version + 1:  # else the table was made anew
        try:
            return list(table.commits(first))
        except FileNotFoundError:
            pass
    return list(table.commits(table.first_commit()))


def _shown(refined: _Steps, computed: Mapping[Mart, _Steps]) -> dict[Key, list[tuple[int, dt.datetime | None]]]:
    """By table partition, up to which batch it was visible in all marts since when; `None`: not yet."""
    shown: dict[Key, list[tuple[int, dt.datetime | None]]] = {}
    for key, steps in refined.items():
        shown[key] = []
        for step in steps:
            # What Silver has seen before changes nothing in it, and no mart is computed for it.
            marts = computed.items() if step.changed and key.date is not None else ()
            times = [step.at, *(_covered(mart, own, key, step.version) for mart, own in marts)]
            there = [time for time in times if time is not None]
            shown[key].append((step.value, max(there) if len(there) == len(times) else None))
    return shown


def _in_cache(steps: _Steps, mart: Mart, gold: Table | None, cached: Shown) -> _Steps:
    """The same commits of a mart, visible since its version or the first one after it is in the cache."""
    times = {} if gold is None or not steps else cached(mart, gold)
    versions = sorted(times)

    def at(step: _Step) -> dt.datetime:
        place = bisect.bisect_left(versions, step.version)
        return max(step.at, times[versions[place]]) if place < len(versions) else step.at

    return {key: [replace(step, at=at(step)) for step in own] for key, own in steps.items()} if times else steps


def _covered(mart: Mart, computed: _Steps, key: Key, version: int) -> dt.datetime | None:
    own = key if REGION_COLUMN in mart.partitioned_by else Key(key.date, None)
    return next((step.at for step in computed.get(own, ()) if step.value >= version), None)


def _through(bronze: Table, shown: Mapping[Key, list[tuple[int, dt.datetime | None]]], done: int) -> dict[Key, int]:
    """By table partition, up to which batch all is visible."""
    found: dict[Key, int] = {}
    for date, region in bronze.files().select(specs.KEYS).unique().iter_rows():
        key = Key(date, region)
        found[key] = done
        for batch, at in shown.get(key, ()):
            if at is None:
                break
            found[key] = max(done, batch)
    return found


def _frontier(waiting: pl.DataFrame, bronze: Table, *, last: int, overdue: dt.datetime) -> int:
    """The last batch of which, and of all before it, everything is visible, or has waited since before `overdue`.

    Args:
        waiting: files of Bronze with rows that are not, as `pending_files` gives them.
    """
    if waiting.is_empty():
        return last
    oldest = waiting.select(pl.max_horizontal("min._batch_id", pl.col("_done") + 1).min()).item()
    late = (
        bronze.rows(waiting.drop("_done"))
        .filter(pl.col("_ingested_at") < overdue)
        .select(pl.max("_batch_id"))
        .collect(engine="in-memory")
        .item()
    )
    return oldest - 1 if late is None else max(oldest - 1, late)


def _first(steps: _Steps, *, beyond: int, table: Table | None) -> int:
    """The version to read on from: the first one that says something of what lies beyond."""
    versions = [step.version for own in steps.values() for step in own if step.value > beyond]
    return min(versions, default=_end(table))


def _missing(
    version: Dataset, rows: pl.DataFrame, silver: Table | None, *, storage: Storage, done: int, through: int
) -> int:
    """Of batches that are judged, the rows that are not published: poison, in quarantine, or not read at all."""
    poison = pl.col("_kind") == specs.POISON
    # What only one of two major versions can read is in the quarantine of the other.
    count = 0 if version.reads_payloads else rows.filter(poison).height
    read = progress(silver)
    last = [(key.date, key.region, batch) for key, batch in read.items()]
    schema = {**specs.PARTITION, "_read": pl.Int64()}
    placed = rows.filter(~poison).group_by(*specs.KEYS, "_batch_id").len()
    placed = placed.join(pl.DataFrame(last, schema=schema, orient="row"), on=specs.KEYS, how="left", nulls_equal=True)
    count += int(placed.filter(pl.col("_batch_id") > pl.col("_read").fill_null(-1))["len"].sum())
    held = Table.find(specs.quarantine(version), storage=storage)
    if held is not None:
        own = (pl.col("max._batch_id") > done) & (pl.col("min._batch_id") <= through)
        count += (
            held.rows(held.files().filter(own))
            .filter(pl.col("_batch_id").is_between(done, through, closed="right"), pl.col(specs.RELEASE).is_null())
            .select(pl.len())
            .collect(engine="in-memory")
            .item()
        )
    return min(count, len(rows))


def _completeness(dataset: Dataset, received: int, missing: int) -> Measurement:
    return Measurement(
        dataset=dataset.name,
        region=None,
        objective="completeness",
        value=(received - missing) / received,
        bound=dataset.slo.completeness,
        good=received - missing,
        bad=missing,
    )


def _latencies(
    dataset: Dataset,
    rows: pl.DataFrame,
    shown: Mapping[Key, list[tuple[int, dt.datetime | None]]],
    *,
    now: dt.datetime,
) -> Iterator[Measurement]:
    """From the append to the topic until the last mart was current; what is still to come has taken until now, and is late."""
    events = rows.filter(pl.col("_kind") == specs.EVENT)
    if events.is_empty():
        return
    schema = {**specs.PARTITION, "_batch_id": pl.Int64(), "_at": TIMESTAMP}
    steps = [(key.date, key.region, batch, at) for key, own in shown.items() for batch, at in own]
    visible = (
        events.select(*specs.KEYS, "_batch_id")
        .unique()
        .sort("_batch_id")
        .join_asof(
            pl.DataFrame(steps, schema=schema, orient="row").sort("_batch_id"),
            on="_batch_id",
            by=specs.KEYS,
            strategy="forward",
            check_sortedness=False,
        )
    )
    waited = (pl.col("_at").fill_null(now) - pl.col("_kafka_timestamp")).dt.total_microseconds() / 1_000_000
    seconds = events.join(visible, on=(*specs.KEYS, "_batch_id"), how="left").select(waited.alias("s"), "_at")
    slo = dataset.slo
    bounds: Iterable[tuple[Name, float, dt.timedelta]] = (
        ("latency_p50", 0.5, slo.latency_p50),
        ("latency_p95", 0.95, slo.latency_p95),
        ("latency_p99", 0.99, slo.latency),
    )
    for objective, quantile, bound in bounds:
        good = seconds.filter(pl.col("s") <= bound.total_seconds(), pl.col("_at").is_not_null()).height
        yield Measurement(
            dataset=dataset.name,
            region=None,
            objective=objective,
            value=seconds["s"].quantile(quantile, "linear"),
            bound=bound.total_seconds(),
            good=good,
            bad=len(seconds) - good,
        )
