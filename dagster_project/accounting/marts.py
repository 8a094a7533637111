"""Whether the marts are what their SQL makes of Silver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.accounting.soundness import Evidence, examine
from dagster_project.contract.model import DATE_COLUMN, Catalog, Dataset, Mart
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.serving import serving, view, visible
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_keys
from dagster_project.refine.gold import run_sql
from dagster_project.refine.plan import pending_gold

# Keys of rows that a problem names.
_NAMED = 5
# Silver rows that are computed from at a time: bounds memory.
_ROWS = 2_000_000
# Relative difference of floats that is no difference.
_CLOSE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Marts:
    """Rows of all marts of a dataset, and their table partitions that are older than Silver."""

    rows: int
    stale: int
    problems: tuple[str, ...]


def check_marts(
    dataset: Dataset,
    *,
    catalog: Catalog,
    storage: Storage,
    deep: bool,
    thorough: bool,
    report: Callable[[str], None],
) -> Marts:
    """Compare the marts' cursors with Silver's versions, and with `deep` their values with those computed anew.

    Args:
        thorough: as of `examine`.
    """
    rows = stale = 0
    problems: list[str] = []
    # The marts first: a run in between makes them stale, not newer than what they were computed from.
    served = serving(catalog, dataset.name, storage=storage)
    marts = catalog.marts_of(dataset.name) if served.table == dataset.table else ()
    golds = {mart: examine(specs.gold(mart), storage=storage, thorough=thorough) for mart in marts}
    inputs = {name: serving(catalog, name, storage=storage) for mart in golds for name in mart.datasets}
    silvers = {
        f"silver/{name}": examine(specs.silver(version), storage=storage, thorough=thorough)
        for name, version in inputs.items()
    }
    for mart, gold in golds.items():
        name = f"gold/{mart.name}"
        problems += gold.problems
        if gold.problems and gold.table is None:
            continue
        tables = {name: gold.table, **{layer: item.table for layer, item in silvers.items()}}
        pending = pending_gold(mart, tables)
        stale += len(pending)
        if gold.table is None:
            continue
        rows += int(gold.table.files()["num_records"].sum())
        problems += _ahead(mart, gold.table, tables)
        if deep and not gold.problems and not any(silvers[f"silver/{item}"].problems for item in mart.datasets):
            report(f"{dataset.name}: {name}, computed anew")
            problems += _differences(mart, gold, tables, pending=pending, catalog=catalog, versions=inputs)
    return Marts(rows=rows, stale=stale, problems=tuple(problems))


def _ahead(mart: Mart, gold: Table, tables: dict[str, Table | None]) -> list[str]:
    found: list[str] = []
    for name in mart.datasets:
        silver = tables[f"silver/{name}"]
        version = -1 if silver is None else silver.version
        table = name if silver is None else silver.spec.name
        newest = max(cursor_keys(gold.cursors(), f"silver/{table}").values(), default=-1)
        if newest > version:
            found.append(
                f"gold/{mart.name} was computed from version {newest} of silver/{table}, which ends at version {version}"
            )
    return found


def _differences(
    mart: Mart,
    gold: Evidence,
    tables: dict[str, Table | None],
    *,
    pending: list[Key],
    catalog: Catalog,
    versions: Mapping[str, Dataset],
) -> list[str]:
    """Rows of the mart's current table partitions whose values are not what its SQL makes of Silver."""
    assert gold.table is not None
    silvers = {name: table for name in mart.datasets if (table := tables[f"silver/{name}"]) is not None}
    if len(silvers) < len(mart.datasets):
        return []
    on, key = list(mart.partitioned_by), list(mart.merge_key)
    dates = pl.concat(table.files().select(DATE_COLUMN, "num_records") for table in (*silvers.values(), gold.table))
    sizes = dates.drop_nulls().group_by(DATE_COLUMN).agg(pl.sum("num_records")).sort(DATE_COLUMN)
    portions = sizes.with_columns((pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    stale = frame_of(pending).select(on)
    wrong: list[str] = []
    for part in portions.partition_by("_portion", maintain_order=True):
        frames = {
            name: view(
                visible(table.rows(table.files().join(part, on=DATE_COLUMN, how="semi")), versions[name]),
                catalog,
                versions[name],
            )
            for name, table in silvers.items()
        }
        wanted = run_sql(mart, frames)
        found = gold.table.rows(gold.files.join(part, on=DATE_COLUMN, how="semi")).collect(engine="in-memory")
        both = found.with_columns(_there=pl.lit(True)).join(
            wanted.with_columns(_wanted=pl.lit(True)), on=key, how="full", coalesce=True, nulls_equal=True
        )
        if both.height > max(found.height, wanted.height) and found.select(key).is_duplicated().any():
            wrong.append("a key twice")
        if set(on) <= set(key):
            both = both.join(stale, on=on, how="anti")
        others = [column for column in wanted.columns if column not in key]
        checks = {
            "not in the mart": pl.col("_there").is_null(),
            "not in Silver": pl.col("_wanted").is_null(),
            **{name: _unequal(name, wanted.schema[name]) for name in others},
        }
        for row in both.filter(pl.any_horizontal(checks.values())).sort(key).iter_slices(1):
            reasons = [name for name, check in checks.items() if row.select(check).item()]
            what = reasons[:1] if reasons[0].startswith("not in") else reasons
            wrong.append("/".join(map(str, row.select(key).row(0))) + f" ({', '.join(what)})")
    if not wrong:
        return []
    named = ", ".join(wrong[:_NAMED]) + (", …" if len(wrong) > _NAMED else "")
    return [f"gold/{mart.name}: {len(wrong)} rows are not what its SQL makes of Silver: {named}"]


def _unequal(name: str, dtype: pl.DataType) -> pl.Expr:
    found, wanted = pl.col(name), pl.col(f"{name}_right")
    if dtype.is_float():
        # Sums of floats depend on the order of their rows, in the last digits.
        close = (found - wanted).abs() <= _CLOSE * pl.max_horizontal(found.abs(), wanted.abs())
        return found.ne_missing(wanted) & ~close.fill_null(False)
    return found.ne_missing(wanted)
