"""Rows that leave quarantine for Silver because the contract, as it is now, lets them through.

They are marked first, in one commit of quarantine, and then merged, in one commit of Silver that names the mark: after a
crash in between they are neither in the one table nor in the other but on their way, and the next release takes them on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import ContractError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.rivals import until_first
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.quality.gate import judge
from dagster_project.refine.gate import audited, without
from dagster_project.refine.holds import holds
from dagster_project.refine.merge import merge
from dagster_project.refine.payloads import read_again
from dagster_project.refine.protect import protect
from dagster_project.refine.quarantine import PLACE, RELEASED, quarantined, released_through
from dagster_project.refine.restate import restate
from dagster_project.refine.silver import counts, publish
from dagster_project.refine.staging import columns_of
from dagster_project.topics.offsets import place


@dataclass(frozen=True, kw_only=True)
class Released:
    """What became of rows that were judged again.

    Attributes:
        judged: rows that were.
        released: by table partition, rows that left for Silver, or would.
        resumed: rows that an earlier release had let go and not brought to Silver.
        reasons: of those that stay, how often each rule is broken.
        held: by table partition or region that is held back, rows that keep to the row rules and stay all the same.
    """

    judged: int
    released: dict[Key, int] = field(default_factory=dict)
    resumed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    held: dict[Key, int] = field(default_factory=dict)


def release(
    dataset: Dataset, *, storage: Storage, registry: str = "", where: str | None = None, dry_run: bool = False
) -> Released:
    """Judge quarantined rows by the present contract, and bring those that pass to Silver, each exactly once.

    Args:
        registry: URL of the schema registry, where the contract's messages name schemas.

    Raises:
        LakeError: the SQL does not run.
        ContractError: a row that was let go before can no longer be decoded.
        StaleCursorError: others commit all the time; nothing is lost, and a further release goes on.
    """
    if dataset.protected:
        until_first(lambda: restate(dataset, storage=storage))
    if dry_run:
        return _let_go(dataset, storage, where, registry=registry, dry_run=True)
    resumed = until_first(lambda: _arrive(dataset, storage, registry=registry))
    found = until_first(lambda: _let_go(dataset, storage, where, registry=registry, dry_run=False))
    if found.released:
        until_first(lambda: _arrive(dataset, storage, registry=registry))
    return replace(found, resumed=resumed)


def _let_go(dataset: Dataset, storage: Storage, where: str | None, *, registry: str, dry_run: bool) -> Released:
    """Judge rows, and mark those that may leave."""
    rows = quarantined(dataset, storage=storage, where=where)
    if rows.is_empty():
        return Released(judged=0)
    silver = Table.open(specs.silver(dataset), storage=storage)
    events, poison = _decoded(dataset, rows, silver, registry=registry)
    verdict = judge(dataset, events)
    good = protect(dataset, verdict.good, silver.schema)
    passing = without(good, holds(silver.cursors()))
    found = audited(dataset, silver, passing, holdable=passing, storage=storage)
    passing = without(passing, found.broken)
    stays = good.join(passing, on=PLACE, how="anti")
    if not dry_run and not passing.is_empty():
        leaving = rows.join(passing.select(PLACE), on=PLACE, how="semi")
        _mark(Table.open(specs.quarantine(dataset), storage=storage), leaving)
    reasons = Counter(verdict.bad["_reasons"].explode()) + Counter(poison)
    return Released(judged=len(rows), released=counts(passing), reasons=dict(reasons), held=counts(stays))


def _mark(quarantine: Table, rows: pl.DataFrame) -> None:
    batches = rows.select(*specs.KEYS, "_batch_id").unique()
    holding = quarantine.files().join(batches, on=specs.KEYS, nulls_equal=True)
    holding = holding.filter(pl.col("_batch_id").is_between("min._batch_id", "max._batch_id"))
    files = quarantine.files().join(holding, on="path", how="semi")
    chosen = rows.select(place()).to_series()
    mark = quarantine.version + 1  # this commit is refused unless it becomes exactly the next version
    leaves = place().is_in(chosen.implode()) & pl.col(specs.RELEASE).is_null()
    marked = pl.when(leaves).then(mark).otherwise(specs.RELEASE).alias(specs.RELEASE)
    kept = quarantine.rows(files).with_columns(marked).collect(engine="in-memory")
    quarantine.commit(kept, remove=files, cursors={"release": mark}, metadata={"released": len(rows)})


def _arrive(dataset: Dataset, storage: Storage, *, registry: str) -> int:
    """Merge what was marked and Silver has not taken over; returns how many rows."""
    silver = Table.open(specs.silver(dataset), storage=storage)
    quarantine = Table.find(specs.quarantine(dataset), storage=storage)
    if quarantine is None:
        return 0
    marked = quarantine.rows().filter(pl.col(specs.RELEASE) > released_through(silver)).collect(engine="in-memory")
    if marked.is_empty():
        return 0
    rows, poison = _decoded(dataset, marked, silver, registry=registry)
    if poison:
        raise ContractError(
            f"{dataset.name}: {len(poison)} rows that were released can no longer be decoded: {poison[0]}",
            expected="a contract that they fit, as when they were released",
            remedy="take the last change of the contract back, and run this command again",
        )
    last = marked[specs.RELEASE].max()
    assert isinstance(last, int)
    rows = protect(dataset, rows, silver.schema)
    publish(silver, merge(dataset, silver, rows), {}, cursors={RELEASED: last}, told={"released": str(len(rows))})
    return len(rows)


def _decoded(dataset: Dataset, rows: pl.DataFrame, silver: Table, *, registry: str) -> tuple[pl.DataFrame, list[str]]:
    """Quarantined rows in Silver's columns, by the present contract; and the reasons of those that do not fit it."""
    decoded = read_again(dataset, rows, registry=registry)
    is_poison = pl.col("_kind") == specs.POISON
    errors = decoded.filter(is_poison)[specs.ERROR].str.split(":").list.first()
    return decoded.filter(~is_poison).select(columns_of(dataset, silver, decoded.columns)), errors.to_list()
