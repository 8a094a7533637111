"""Whether the marts are what their SQL makes of what they read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import polars as pl

from dagster_project.accounting.soundness import examine
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_keys
from dagster_project.refine.gold import evaluate, everything, portions
from dagster_project.refine.inputs import Inputs, spec_of, versions
from dagster_project.refine.parts import published
from dagster_project.refine.staleness import pending_gold, source

# Keys of rows that a problem names.
_NAMED = 5
# Relative difference of floats that is no difference.
_CLOSE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Marts:
    """Rows of all marts of a dataset, and their table partitions that are older than what they read."""

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
    """Compare the marts' cursors with the versions of what they read, and with `deep` their values with those computed anew.

    Args:
        thorough: as of `examine`.
    """
    rows = stale = 0
    problems: list[str] = []
    # The marts first: a run in between makes them stale, not newer than what they were computed from.
    served = serving(catalog, dataset.name, storage=storage)
    marts = catalog.marts_of(dataset.name) if served.table == dataset.table else ()
    golds = [(mart, examine(specs.gold(mart), storage=storage, thorough=thorough)) for mart in reversed(marts)]
    for mart, gold in golds:
        problems += gold.problems
        if gold.problems and gold.table is None:
            continue
        serve = versions(mart, catalog, storage=storage)
        found = {
            item.table: examine(spec_of(item.table, serve, catalog), storage=storage, thorough=thorough)
            for item in mart.inputs
        }
        inputs = Inputs(
            mart=mart, catalog=catalog, tables={name: item.table for name, item in found.items()}, versions=serve
        )
        pending = pending_gold(
            mart, {**inputs.tables, f"gold/{mart.name}": gold.table}, catalog=catalog, with_held=True
        )
        stale += len(pending)
        if gold.table is None:
            continue
        rows += int(gold.table.files()["num_records"].sum())
        problems += _ahead(mart, gold.table, inputs)
        if deep and not gold.problems and inputs.ready and not any(item.problems for item in found.values()):
            report(f"{dataset.name}: gold/{mart.name}, computed anew")
            problems += _differences(gold.table, inputs, pending=pending)
    return Marts(rows=rows, stale=stale, problems=tuple(problems))


def _ahead(mart: Mart, gold: Table, inputs: Inputs) -> list[str]:
    found: list[str] = []
    for item in mart.inputs:
        table = inputs.tables[item.table]
        version = -1 if table is None else table.version
        name = item.table if table is None else source(table)
        newest = max(cursor_keys(gold.cursors(), name).values(), default=-1)
        if newest > version:
            found.append(
                f"gold/{mart.name} was computed from version {newest} of {name}, which ends at version {version}"
            )
    return found


def _differences(gold: Table, inputs: Inputs, *, pending: Collection[Key]) -> list[str]:
    """Rows of the mart's current table partitions whose values are not what its SQL makes of its inputs."""
    mart = inputs.mart
    key = list(mart.merge_key)
    current = [key for key in everything(inputs, gold) if key not in set(pending)]
    wrong: list[str] = []
    for part in portions(current, inputs):
        wanted, _ = evaluate(inputs, part)
        found = published(gold, part)
        both = found.with_columns(_there=pl.lit(True)).join(
            wanted.with_columns(_wanted=pl.lit(True)), on=key, how="full", coalesce=True, nulls_equal=True
        )
        if both.height > max(found.height, wanted.height) and found.select(key).is_duplicated().any():
            wrong.append("a key twice")
        others = [column for column in wanted.columns if column not in key]
        checks = {
            "not in the mart": pl.col("_there").is_null(),
            "not in its inputs": pl.col("_wanted").is_null(),
            **{name: _unequal(name, wanted.schema[name]) for name in others},
        }
        for row in both.filter(pl.any_horizontal(checks.values())).sort(key).iter_slices(1):
            reasons = [name for name, check in checks.items() if row.select(check).item()]
            what = reasons[:1] if reasons[0].startswith("not in") else reasons
            wrong.append("/".join(map(str, row.select(key).row(0))) + f" ({', '.join(what)})")
    if not wrong:
        return []
    named = ", ".join(wrong[:_NAMED]) + (", …" if len(wrong) > _NAMED else "")
    return [f"gold/{mart.name}: {len(wrong)} rows are not what its SQL makes of its inputs: {named}"]


def _unequal(name: str, dtype: pl.DataType) -> pl.Expr:
    found, wanted = pl.col(name), pl.col(f"{name}_right")
    if dtype.is_float():
        # Sums of floats depend on the order of their rows, in the last digits.
        close = (found - wanted).abs() <= _CLOSE * pl.max_horizontal(found.abs(), wanted.abs())
        return found.ne_missing(wanted) & ~close.fill_null(False)
    return found.ne_missing(wanted)
