"""Making again what was made before, from a layer on: the same bit for bit, unless somebody has altered it since."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, keys_of
from dagster_project.lake.serving import written
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.lifecycle.redecode import redecode
from dagster_project.refine.gold import compute, everything
from dagster_project.refine.inputs import Inputs
from dagster_project.refine.reach import WHOLE, changes, readers
from dagster_project.refine.restate import remake
from dagster_project.refine.silver import refine

Origin = Literal["gold", "silver", "bronze"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A rectangle of table partitions; `None` and empty mean all."""

    first: dt.date | None = None
    last: dt.date | None = None
    regions: tuple[str, ...] = ()

    def __contains__(self, key: Key) -> bool:
        """Whether a table partition is in it; one without a date always is."""
        if key.date is None:
            return True
        if (self.first and key.date < self.first) or (self.last and key.date > self.last):
            return False
        return key.region is None or not self.regions or key.region in self.regions


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What was made again of one table.

    Attributes:
        table: `layer/name`.
        made: table partitions that were.
        changed: those of them whose rows are other ones now.
        regions: of the table partitions.
    """

    table: str
    made: tuple[Key, ...]
    changed: tuple[Key, ...]
    regions: tuple[str, ...]


def rebuild_mart(
    mart: Mart, choice: Choice, *, catalog: Catalog, storage: Storage, report: Callable[[str], None]
) -> Iterator[Rebuilt]:
    """Compute a mart's rectangle from what it reads, and then whatever reads what has changed.

    Raises:
        ContractError: the SQL breaks the mart's contract.
        StaleCursorError: another run computes the same mart.
    """
    found = Inputs.find(mart, catalog=catalog, storage=storage)
    gold = Table.find(specs.gold(mart), storage=storage)
    yield _computed(mart, [key for key in everything(found, gold) if key in choice], catalog, storage, report)
    for reader in catalog.readers(mart.name):
        yield _computed(reader, [], catalog, storage, report)


def rebuild_dataset(
    dataset: Dataset,
    choice: Choice,
    origin: Origin,
    *,
    catalog: Catalog,
    storage: Storage,
    report: Callable[[str], None],
    registry: str = "",
) -> Iterator[Rebuilt]:
    """Make a rectangle of Silver from Bronze, of each version that is written, and then all marts that come from it.

    Args:
        origin: `bronze` to decode Bronze's payloads again first.
        registry: URL of the schema registry, where the contract's messages name schemas and Bronze is decoded again.

    Raises:
        ExpiredError: Bronze has not all of the rows any longer; nothing was changed.
        StaleCursorError: another run works on the same tables; what was made stays, and a further call goes on.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is None:
        return
    keys = [key for key in keys_of(bronze.files()) if key in choice]
    if origin == "bronze":
        report(f"bronze/{dataset.name}: {len(keys):,} table partitions, decoded again")
        other = redecode(dataset, keys, storage=storage, registry=registry)
        yield Rebuilt(table=f"bronze/{dataset.name}", made=tuple(keys), changed=tuple(other), regions=dataset.regions)
    for version in written(catalog, dataset.name, storage=storage):
        report(f"silver/{version.table}: {len(keys):,} table partitions, judged and merged afresh")
        before = _changes(version, storage)
        for _ in refine(version, storage=storage, keys=keys, afresh=True):
            pass
        remake(version, storage=storage, keys=[key for key in keys if key != WHOLE])
        changed = [key for key, mark in _changes(version, storage).items() if before.get(key) != mark and key != WHOLE]
        yield Rebuilt(
            table=f"silver/{version.table}", made=tuple(keys), changed=tuple(changed), regions=version.regions
        )
    reached: dict[str, set[Key]] = {f"silver/{dataset.name}": set(keys)}
    for mart in catalog.marts_of(dataset.name):
        own = {
            key
            for item in mart.inputs
            for read in reached.get(item.table, ())
            for key in (readers(mart, item, read) if read != WHOLE or not mart.partitioned_by else ())
        }
        reached[f"gold/{mart.name}"] = own
        yield _computed(mart, sorted(own, key=str), catalog, storage, report)


def _computed(
    mart: Mart, keys: list[Key], catalog: Catalog, storage: Storage, report: Callable[[str], None]
) -> Rebuilt:
    """Compute table partitions afresh, and then what is older than its input without having been chosen."""
    report(f"gold/{mart.name}: {len(keys):,} table partitions, computed afresh")
    commits = list(compute(mart, catalog=catalog, storage=storage, keys=keys, afresh=True)) if keys else []
    commits += compute(mart, catalog=catalog, storage=storage, keys=None)
    return Rebuilt(
        table=f"gold/{mart.name}",
        made=tuple(key for commit in commits for key in commit.rows),
        changed=tuple(key for commit in commits for key in commit.changed),
        regions=mart.regions,
    )


def _changes(dataset: Dataset, storage: Storage) -> dict[Key, int]:
    silver = Table.find(specs.silver(dataset), storage=storage)
    return {} if silver is None else changes(silver.cursors())
