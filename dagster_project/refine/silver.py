"""From Bronze to Silver: new rows are judged, deduplicated and merged, a bounded number of rows at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.columns import together
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec, traces
from dagster_project.quality.gate import judge
from dagster_project.refine.breaker import Tally, tallies, window_cursors, windows
from dagster_project.refine.cursors import batch_of, cursor_keys, cursor_name
from dagster_project.refine.expired import refuse_expired
from dagster_project.refine.gate import audited, without
from dagster_project.refine.holds import freed, holds, resting
from dagster_project.refine.late import Histogram, beyond, count_beyond, histogram
from dagster_project.refine.merge import Merge, written
from dagster_project.refine.payloads import stage
from dagster_project.refine.plan import pending_files, progress, still_planned, within
from dagster_project.refine.probe import hold, judged_through, open_regions, probe
from dagster_project.refine.protect import protect
from dagster_project.refine.quarantine import PLACE, known, quarantine
from dagster_project.refine.recover import COLUMNS, columns_after
from dagster_project.refine.restate import restate
from dagster_project.refine.seal import is_sealed, refuse_sealed
from dagster_project.refine.staging import portions
from dagster_project.refine.watermarks import taken_over
from dagster_project.telemetry.canonical import Line, canonical
from dagster_project.telemetry.spans import span

# Rows of one commit: bounds memory at some hundred MB whatever the backlog and however large a table partition is.
_ROWS = 300_000


@dataclass(frozen=True, kw_only=True)
class Refined:
    """What one Silver commit did.

    Attributes:
        read: by table partition, Bronze rows that were looked at and published or quarantined.
        written: by table partition, rows added.
        superseded: rows that a newer version or an earlier copy made redundant, of this batch and of Silver.
        reasons: of quarantined rows, how often each rule was broken.
        warnings: by rule that only warns, rows or table partitions that break it.
        held: by table partition or region, why nothing of it is published.
        lateness: by region, of the rows that were read, how many were how late.
        beyond: those of them beyond the lateness horizon.
        batches: the first and the last Bronze batch of these rows; `None` of none.
        named: correlation ids of these rows, a few at the most, those of quarantined ones before all others.
    """

    read: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, int] = field(default_factory=dict)
    superseded: int = 0
    quarantined: int = 0
    deleted: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    held: dict[Key, str] = field(default_factory=dict)
    lateness: Histogram = field(default_factory=dict)
    beyond: int = 0
    batches: tuple[int, int] | None = None
    named: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Tables:
    storage: Storage
    bronze: Table
    silver: Table
    quarantine: Table


def refine(
    dataset: Dataset, *, storage: Storage, keys: Iterable[Key] | None, afresh: bool = False
) -> Iterator[Refined]:
    """Bring table partitions of Silver up to date with Bronze; yields after each commit.

    Args:
        keys: table partitions to work on; `None` means all that have something to do.
        afresh: judge and merge all of Bronze again, not only what is new; changes nothing where nothing was wrong.

    Raises:
        ExpiredError: rows that are to be read have been deleted after the retention.
        StaleCursorError: another run refines the same dataset; it goes on, this one ends.
        ContractError: an SQL rule of the contract cannot be run.
        ConfigurationError: there is no secret, and the contract has columns to be pseudonymised.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is None:
        return
    found = Table.find(specs.silver(dataset), storage=storage)
    if found is not None and is_sealed(found):
        return
    if dataset.protected:  # a merge would not know a row by the pseudonym of another secret
        restate(dataset, storage=storage)
    tables = _opened(dataset, bronze, storage=storage)
    bronze, silver = tables.bronze, tables.silver
    chosen = None if keys is None else list(keys)
    planned = dict(progress(silver))
    # What is judged afresh is read from its first batch, all else from where Silver is, which may have been made anew.
    kept = {key: last for key, last in planned.items() if not afresh or (chosen is not None and key not in chosen)}
    refuse_expired(dataset, bronze=bronze, done=kept, storage=storage)
    waiting = pending_files(dataset, bronze, planned)
    # What a person asks for is judged now, whenever its time would come.
    rest = set[Key]() if afresh else resting(dataset, silver.cursors(), waiting)
    files = pending_files(dataset, bronze, {} if afresh else planned)
    files = files.join(frame_of(within(keys_of(files), chosen)), on=specs.KEYS, how="semi", nulls_equal=True)
    files = without(files, rest)
    for held in open_regions(silver, files):
        own = waiting.filter(pl.col("region") == held.scope.region)
        if not own.is_empty():
            why = probe(dataset, held, own, bronze=bronze, silver=silver, most=_ROWS, forced=afresh)
            rest |= {held.scope} if why else set()
            yield Refined(held={held.scope: why} if why else {})
    for part in portions(files, most=_ROWS):
        # What was held since, too: a later portion of it would leave rows behind that Silver's cursor has passed.
        if (part := without(part, rest)).is_empty():
            continue
        # What it holds is gone before the next one is read.
        refined, through = _refine(dataset, part, planned, tables=tables)
        planned |= through
        rest |= refined.held.keys()
        yield refined


def _opened(dataset: Dataset, bronze: Table, *, storage: Storage) -> _Tables:
    """The tables, and Bronze as it is once the others are open.

    What somebody erases from all of them meanwhile is then not brought back by this run's own commits.
    """
    while True:
        silver = Table.open(_silver_spec(dataset, bronze), storage=storage)
        held = Table.open(specs.quarantine(dataset), storage=storage)
        known, bronze = bronze.schema, Table.find(bronze.spec, storage=storage) or bronze
        if bronze.schema == known:  # or Silver lacks a column that comes with its rows
            return _Tables(storage=storage, bronze=bronze, silver=silver, quarantine=held)


def _silver_spec(dataset: Dataset, bronze: Table) -> TableSpec:
    """With what Bronze has of newer contracts than this run's: it goes with its rows, unless it may be confidential."""
    spec = specs.silver(dataset)
    if dataset.protected or dataset.reads_payloads:
        return spec
    values = {name: dtype for name, dtype in bronze.schema.items() if not name.startswith("_")}
    return replace(spec, schema=together(spec.schema, values))


def _refine(
    dataset: Dataset, files: pl.DataFrame, planned: Mapping[Key, int], *, tables: _Tables
) -> tuple[Refined, dict[Key, int]]:
    """Work on some files in one commit; returns what it did, and by table partition the last batch that is done now."""
    silver = tables.silver
    there = _doubtful(files, tables.quarantine)
    in_quarantine = there.filter(pl.col(specs.RELEASE).is_null())
    with span("silver.fetch", follows=traces(tables.bronze), dataset=dataset.name) as fetching:
        fresh = stage(dataset, tables.bronze, files, silver)
    with span("silver.gate", dataset=dataset.name, rows=len(fresh.rows)) as judging:
        verdict = judge(dataset, _without_places(fresh.rows, in_quarantine))
    batches = fresh.rows["_batch_id"]
    fresh = replace(fresh, rows=fresh.rows.clear())
    refuse_sealed(silver)
    still_planned(silver, planned, progress(silver), keys_of(files))
    settled = _settled(files, planned)
    late = beyond(dataset, verdict.good, released=there)
    kept = _without_places(verdict.good, late)
    good = protect(dataset, kept, silver.schema)
    bad = _after(_without_places(pl.concat([verdict.bad, late]), there), settled)
    unread = _after(_without_places(fresh.unread, there), settled)
    cursors = silver.cursors()
    judged, before = cursor_keys(cursors, "judged"), windows(cursors)
    tripped = {
        scope: str(window)
        for scope, count in tallies(
            fresh.placed(_after(good, settled)), fresh.placed(bad), judged=judged, windows=before
        ).items()
        if (window := before.get(scope, Tally()) + count).trips(dataset.breaker)
    }
    good = without(good, tripped)
    with span("silver.merge", dataset=dataset.name, rows=len(good)) as merging:
        found = audited(dataset, silver, good, holdable=fresh.placed(_after(good, settled)), storage=tables.storage)
    held = tripped | dict(found.broken)
    good, merged = without(good, found.broken), found.merged
    strays = _without_places(fresh.strays(bad, kept, published=good), there)
    bad = without(pl.concat([fresh.placed(bad), unread, strays], how="diagonal_relaxed"), held)
    through = {
        # Of what is judged afresh, the cursor is further on already, and stays.
        (key := Key(date, region)): max(last, planned.get(key, last))
        for date, region, last in without(files, held).group_by(specs.KEYS).agg(pl.max("max._batch_id")).iter_rows()
    }
    with span("silver.commit", dataset=dataset.name) as committing:
        quarantine(tables.quarantine, bad, through, bronze=tables.bronze, files=files)
        moved, told = hold(dataset, silver, held, judged=judged_through(files, held))
        moved |= freed(holds(cursors).keys() & through.keys(), version=silver.version + 1, judged={})
        published = tallies(fresh.placed(_after(good, settled)), fresh.readable(bad), judged=judged, windows=before)
        moved |= window_cursors(before, published, dataset.breaker, ended=tripped)
        moved[COLUMNS] = columns_after(dataset, silver)
        moved |= taken_over(tables.bronze, silver, pending_files(dataset, tables.bronze, {**planned, **through}))
        version = publish(silver, merged, through, cursors=moved, told=told)
        committing.note(version=version)
    read = pl.concat(rows.select(*specs.KEYS, specs.LATE, "_deleted", "_batch_id") for rows in (good, bad))
    refined = Refined(
        read=counts(read),
        written=counts(merged.added),
        superseded=merged.superseded,
        quarantined=len(bad),
        deleted=merged.deleted,
        reasons=dict(Counter(bad["_reasons"].explode()).most_common()),
        warnings=verdict.warnings | dict(found.warnings),
        held=held,
        lateness=histogram(read),
        beyond=count_beyond(dataset, read),
        batches=None if read.is_empty() else read.select(pl.min("_batch_id"), pl.max("_batch_id").alias("last")).row(0),
        named=specs.named(bad, good),
    )
    canonical(
        Line(
            layer="silver",
            table=dataset.table,
            version=version,
            batch_id=_number(batches.max()),
            first_batch_id=_number(batches.min()),
            rows_in=len(batches),
            rows_out=len(merged.added),
            quarantined=len(bad),
            late=len(read) - read[specs.LATE].null_count(),
            held=len(held),
            bytes=int(files["size_bytes"].sum()),
            fetch_s=fetching.seconds,
            gate_s=judging.seconds + merging.seconds,
            commit_s=committing.seconds,
        )
    )
    return refined, through


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _without_places(rows: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    return rows if places.is_empty() else rows.join(places, on=PLACE, how="anti", maintain_order="left")


def _doubtful(files: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Places that quarantine has of rows which are judged again: after a crash before Silver's commit, or afresh."""
    ahead = progress(table)
    done = files.select(*specs.KEYS, "_done").unique().iter_rows()
    return known(table, [Key(date, region) for date, region, last in done if ahead.get(Key(date, region), -1) > last])


def _settled(files: pl.DataFrame, planned: Mapping[Key, int]) -> pl.DataFrame:
    """By table partition that is judged afresh, the last batch that was refined before."""
    done = files.select(*specs.KEYS, "_done").unique()
    last = [planned.get(Key(*row), -1) for row in done.select(specs.KEYS).iter_rows()]
    return done.with_columns(pl.Series("_settled", last, pl.Int64)).filter(pl.col("_settled") > pl.col("_done"))


def _after(rows: pl.DataFrame, settled: pl.DataFrame) -> pl.DataFrame:
    """Rows that were not refined before."""
    if settled.is_empty():
        return rows
    last = settled.select(*specs.KEYS, "_settled")
    joined = rows.join(last, on=specs.KEYS, how="left", nulls_equal=True, maintain_order="left")
    return joined.filter(pl.col("_batch_id") > pl.col("_settled").fill_null(-1)).drop("_settled")


def publish(
    silver: Table, merged: Merge, through: Mapping[Key, int], *, cursors: Mapping[str, int], told: Mapping[str, str]
) -> int:
    """Commit a merge with all that it moves, what was read, what has changed, and more cursors; returns the new version."""
    return silver.commit(
        written(merged, silver),
        remove=merged.rewritten,
        cursors={**{cursor_name("bronze", key): batch for key, batch in through.items()}, **cursors},
        marks=[cursor_name("changed", key) for key in merged.touched],
        metadata={"rows": len(merged.added), **batch_of(through), **told},
    )


def counts(rows: pl.DataFrame) -> dict[Key, int]:
    """Rows by table partition."""
    return {Key(date, region): count for date, region, count in rows.group_by(specs.KEYS).len().iter_rows()}
