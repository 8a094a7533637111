"""From Silver to Gold: a mart's SQL over the table partitions that changed, published by replacing exactly these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from deltalake.transaction import AddAction

from dagster_project.contract.model import DATE_COLUMN, Catalog, Mart
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, traces
from dagster_project.quality.audit import Finding
from dagster_project.refine.audit import Verdict, audited
from dagster_project.refine.cursors import cursor_keys, cursor_name, judged
from dagster_project.refine.engine import Engine, Rows, Work
from dagster_project.refine.inputs import Inputs
from dagster_project.refine.parts import differing, files_of, parts, published, rows_of
from dagster_project.refine.plan import still_planned, within
from dagster_project.refine.reach import WHOLE
from dagster_project.refine.sql import refuse, run_sql
from dagster_project.refine.staleness import SQL, WATERMARK, computed_elsewhere, source, sql_fingerprint, stale
from dagster_project.refine.validity import first_difference
from dagster_project.refine.windows import fingerprint
from dagster_project.telemetry.canonical import Line, canonical
from dagster_project.telemetry.spans import span

# Input rows that one commit looks at: bounds memory whatever the backlog.
_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What one Gold commit did.

    Attributes:
        rows: by table partition that was computed and is published.
        read: rows of the inputs' files.
        changed: table partitions whose rows are other ones now.
        inputs: the versions that they were computed from.
        held: by table partition that stays as it was, the rules that it would have broken.
        warnings: by table partition that is published, rules that it breaks and that only warn.
        told: by the engine, of its work.
    """

    rows: dict[Key, int]
    read: int
    changed: tuple[Key, ...]
    inputs: dict[str, int]
    held: Mapping[Key, Sequence[Finding]] = field(default_factory=dict)
    warnings: Mapping[Key, Sequence[Finding]] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


class LocalEngine:
    """DuckDB in this process, over a bounded number of rows at a time."""

    name = "local"

    def compute(self, inputs: Inputs, gold: Table, keys: Sequence[Key]) -> Work:  # noqa: ARG002 it writes nothing ahead
        def rows(portion: Sequence[Key]) -> Rows:
            frame, read = evaluate(inputs, portion)
            return Rows(frame=frame, read=read)

        return Work(portions=list(portions(keys, inputs)), rows=rows)


_LOCAL = LocalEngine()


def compute(
    mart: Mart,
    *,
    catalog: Catalog,
    storage: Storage,
    keys: Iterable[Key] | None,
    afresh: bool = False,
    engine: Engine = _LOCAL,
) -> Iterator[Computed]:
    """Recompute table partitions of a mart from the newest Silver and Gold; yields after each commit.

    Args:
        keys: table partitions to look at; `None` means all.
        afresh: recompute all of them, not only those older than their input.
        engine: what computes the rows; all else is the same whichever does, so they may take turns.

    Raises:
        ContractError: the SQL fails, or yields other columns than the contract says.
        RefusedError: the mart is CP, and what was computed breaks a rule.
        StaleCursorError: another run computes the same mart; it goes on, this one ends.
    """
    inputs = Inputs.find(mart, catalog=catalog, storage=storage)
    if not inputs.ready:
        return
    gold = Table.open(specs.gold(mart), storage=storage)
    # Once more, after Gold: what somebody erases from both is not brought back by this run's own commits.
    inputs = Inputs.find(mart, catalog=catalog, storage=storage)
    planned = dict(gold.cursors())
    pending = everything(inputs, gold) if afresh else stale(mart, inputs.tables, judged(planned), catalog=catalog)
    work = engine.compute(inputs, gold, within(pending, keys))
    if mart.consistency == "cp" and len(work.portions) > 1:
        # More than one commit: all of the batch is measured before any of it is published.
        for portion in work.portions:
            _staged(inputs, work, gold, portion)
    for portion in work.portions:
        for prefix in [*map(source, inputs.found()), SQL]:
            still_planned(gold, cursor_keys(planned, prefix), cursor_keys(gold.cursors(), prefix), portion)
        staged = _staged(inputs, work, gold, portion)
        before, rows, verdict = staged.before, staged.rows, staged.verdict
        other = differing(mart, verdict.published, before, rows)
        with span("gold.commit", mart=mart.name) as committing:
            version = gold.commit(
                rows_of(mart, rows, other if staged.files is None else ()),
                files=[file for key in other for file in (staged.files or {}).get(key, ())],
                remove=files_of(gold, other),
                cursors=verdict.cursors(_cursors(inputs, portion, gold.cursors()), gold.cursors()),
                marks=_marks(mart, other, before, rows),
                metadata={
                    "rows": len(rows),
                    "computed": len(portion),
                    "changed": len(other),
                    "held": len(verdict.broken),
                },
            )
            committing.note(version=version)
        canonical(
            Line(
                layer="gold",
                table=mart.name,
                version=version,
                inputs={source(table): table.version for table in inputs.found()},
                rows_in=staged.read,
                rows_out=len(rows),
                held=len(verdict.broken),
                compute_s=staged.compute_s,
                gate_s=staged.gate_s,
                commit_s=committing.seconds,
            )
        )
        counts = {key: len(own) for key, own in parts(mart, rows).items()}
        yield Computed(
            rows={key: counts.get(key, 0) for key in verdict.published},
            read=staged.read,
            changed=tuple(other),
            inputs={table.spec.name: table.version for table in inputs.found()},
            held=verdict.broken,
            warnings=verdict.warnings,
            told=work.told,
        )


@dataclass(frozen=True, kw_only=True)
class _Staged:
    """Rows as computed, as they are published, and what may be; `read` is of how many rows; and how long it took."""

    rows: pl.DataFrame
    files: dict[Key, list[AddAction]] | None
    before: pl.DataFrame
    verdict: Verdict
    read: int
    compute_s: float
    gate_s: float


def _staged(inputs: Inputs, work: Work, gold: Table, keys: Sequence[Key]) -> _Staged:
    mart = inputs.mart
    with span("gold.recompute", follows=traces(*inputs.found()), mart=mart.name, partitions=len(keys)) as computing:
        computed = work.rows(keys)
        rows, read = computed.frame, computed.read
        before = published(gold, keys)
        computing.note(rows_in=read, rows_out=len(rows))
    with span("gold.gate", mart=mart.name) as judging:
        verdict = audited(mart, rows, keys, read=lambda some: inputs.read(some)[0], before=before)
    return _Staged(
        rows=rows,
        files=computed.files,
        before=before,
        verdict=verdict,
        read=read,
        compute_s=computing.seconds,
        gate_s=judging.seconds,
    )


def everything(inputs: Inputs, gold: Table | None) -> list[Key]:
    """All table partitions of a mart: those that have an input, and those that are published though they have none."""
    there = set(stale(inputs.mart, inputs.tables, {}, catalog=inputs.catalog))
    if gold is not None and inputs.mart.partitioned_by:
        there.update(keys_of(gold.files()))
    return sorted(there, key=str)


def evaluate(inputs: Inputs, keys: Sequence[Key]) -> tuple[pl.DataFrame, int]:
    """Rows of table partitions of a mart as its SQL makes them, in the order of the key; and how many rows that read.

    Each day of a mart that reads the days beside it is computed by itself, from these alone: so it does not depend on
    which other days are computed with it.

    Raises:
        ContractError: as of `compute`.
    """
    mart = inputs.mart
    found: list[pl.DataFrame] = []
    read = 0
    for group in alone(mart, keys):
        frames, count = inputs.read(group)
        rows = run_sql(mart, frames)
        if mart.reads_beside:
            rows = rows.filter(pl.col(DATE_COLUMN) == group[0].date)
        refuse_strays(mart, parts(mart, rows), group)
        found.append(rows)
        read += count
    return pl.concat(found).sort(mart.merge_key), read


def alone(mart: Mart, keys: Sequence[Key]) -> list[list[Key]]:
    """Table partitions that the SQL is run for at once: one day, where it reads the days beside, else all."""
    if not mart.reads_beside:
        return [list(keys)]
    return [[key for key in keys if key.date == date] for date in sorted({key.date for key in keys}, key=str)]


def refuse_strays(mart: Mart, found: Iterable[Key], keys: Sequence[Key]) -> None:
    """Rows are only of the table partitions that are computed.

    Raises:
        ContractError: there are others.
    """
    wanted = set(keys)
    for key in found:
        if key not in wanted:
            raise refuse(
                mart,
                f"yields rows of {key}, which no input row belongs to",
                "rows of the inputs' own table partitions",
            )


def portions(keys: Sequence[Key], inputs: Inputs) -> Iterator[list[Key]]:
    """Table partitions in portions that are computed from a bounded number of rows each."""
    # A single one, or all of a small lake, is one portion: to count what each reads takes longer than many a mart.
    sizes = inputs.sizes() if len(keys) > 1 and inputs.rows > _ROWS else {}
    portion: list[Key] = []
    total = 0
    for key in keys:
        if portion and total + sizes.get(key, 0) > _ROWS:
            yield portion
            portion, total = [], 0
        portion.append(key)
        total += sizes.get(key, 0)
    if portion:
        yield portion


def _cursors(inputs: Inputs, keys: Sequence[Key], known: Mapping[str, int]) -> dict[str, int]:
    """What table partitions are computed from: versions of tables, of other major versions none; watermark; SQL."""
    mart, marks = inputs.mart, inputs.watermarks
    origins = {source(table): table.version for table in inputs.found()}
    for item in mart.inputs:
        if (table := inputs.tables[item.table]) is not None:
            origins |= dict.fromkeys(computed_elsewhere(known, item, table), -1)
    moved = {cursor_name(prefix, key): version for prefix, version in origins.items() for key in keys}
    if mart.window is not None:
        moved |= {cursor_name(WATERMARK, key): fingerprint(mart, key, marks) for key in keys}
    if not mart.partitioned_by:
        moved[cursor_name(SQL, WHOLE)] = sql_fingerprint(mart)
    return moved


def _marks(mart: Mart, keys: Sequence[Key], before: pl.DataFrame, after: pl.DataFrame) -> list[str]:
    """Cursors that say to readers of a mart what has changed in it."""
    if keys and mart.validity:
        return [cursor_name("changed", Key(first_difference(mart, before, after), None))]
    return [cursor_name("changed", key) for key in keys]
