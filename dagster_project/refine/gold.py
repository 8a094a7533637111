"""From Silver to Gold: a mart's SQL over the table partitions that changed, published by replacing exactly these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import duckdb
import polars as pl

from dagster_project.contract.dtypes import describe, polars_schema
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Catalog, Dataset, Mart
from dagster_project.errors import ContractError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.serving import serving, view, visible
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_keys, cursor_name
from dagster_project.refine.plan import computed_elsewhere, pending_gold, still_planned, within

# Silver rows that one statement looks at: bounds memory whatever the backlog.
_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What one Gold commit did: rows by table partition, and the Silver versions that they were computed from."""

    rows: dict[Key, int]
    read: int
    inputs: dict[str, int]


def compute(
    mart: Mart, *, catalog: Catalog, storage: Storage, keys: Iterable[Key] | None, afresh: bool = False
) -> Iterator[Computed]:
    """Recompute table partitions of a mart from the newest Silver; yields after each commit.

    Args:
        keys: table partitions to look at; `None` means all.
        afresh: recompute all of them, not only those older than their input.

    Raises:
        ContractError: the SQL fails, or yields other columns than the contract says.
        StaleCursorError: another run computes the same mart; it goes on, this one ends.
    """
    versions = {name: serving(catalog, name, storage=storage) for name in mart.datasets}
    inputs = {name: Table.find(specs.silver(version), storage=storage) for name, version in versions.items()}
    silvers = {name: table for name, table in inputs.items() if table is not None}
    if len(silvers) < len(inputs):
        return
    gold = Table.open(specs.gold(mart), storage=storage)
    # Once more, after Gold: what somebody erases from both is not brought back by this run's own commits.
    silvers = {name: Table.find(silver.spec, storage=storage) or silver for name, silver in silvers.items()}
    tables: dict[str, Table | None] = {f"silver/{name}": table for name, table in silvers.items()}
    pending = pending_gold(mart, {**tables, f"gold/{mart.name}": None if afresh else gold})
    chosen = within(pending, keys)
    planned = {table.spec.name: cursor_keys(gold.cursors(), f"silver/{table.spec.name}") for table in silvers.values()}
    for portion in _portions(chosen, mart, silvers):
        for name, before in planned.items():
            still_planned(gold, before, cursor_keys(gold.cursors(), f"silver/{name}"), portion)
        on = list(mart.partitioned_by)
        wanted = frame_of(portion).select(on)
        files = {name: silver.files().join(wanted, on=on, how="semi") for name, silver in silvers.items()}
        frames = {
            name: view(_input(silvers[name], own, versions[name]), catalog, versions[name])
            for name, own in files.items()
        }
        rows = run_sql(mart, frames)
        _check_keys(mart, rows, wanted)
        gold.commit(
            rows,
            remove=gold.files().join(wanted, on=on, how="semi"),
            cursors={
                cursor_name(prefix, key): version
                for name, silver in silvers.items()
                for prefix, version in _origins(gold, name, silver).items()
                for key in portion
            },
            metadata={"rows": len(rows)},
        )
        counts = {Key(row[0], row[1] if len(on) > 1 else None): row[-1] for row in rows.group_by(on).len().iter_rows()}
        yield Computed(
            rows={key: counts.get(key, 0) for key in portion},
            read=sum(int(own["num_records"].sum()) for own in files.values()),
            inputs={name: silver.version for name, silver in silvers.items()},
        )


def _origins(gold: Table, name: str, silver: Table) -> dict[str, int]:
    """By cursor prefix, the version of Silver that rows are computed from: of other major versions none."""
    others = computed_elsewhere(gold.cursors(), name, silver)
    return {f"silver/{silver.spec.name}": silver.version, **dict.fromkeys(others, -1)}


def _input(silver: Table, files: pl.DataFrame, version: Dataset) -> pl.LazyFrame:
    """The contract's columns; Silver may have more, of a newer one."""
    return visible(silver.rows(files).select(silver.spec.schema.keys()), version)


def run_sql(mart: Mart, inputs: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """Run a mart's SQL over frames that stand for `silver.<name>`; columns come back in the contract's order and types.

    DuckDB asks them for the columns that the SQL is about; no others are read.

    Raises:
        ContractError: the SQL fails, or its columns are not the contract's.
    """
    with duckdb.connect(config={"enable_external_access": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA silver")
        for name, frame in inputs.items():
            connection.register(f"_{name}", frame)
            connection.execute(f'CREATE VIEW silver."{name}" AS SELECT * FROM "_{name}"')
        try:
            result = pl.DataFrame(connection.sql(mart.sql).to_arrow_table())
        except duckdb.Error as error:
            raise _refuse(
                mart, str(error), "SQL that runs in DuckDB over " + ", ".join(f"silver.{name}" for name in inputs)
            ) from error
    wanted = polars_schema(mart.columns)
    if set(result.columns) != set(wanted):
        raise _refuse(mart, f"yields {', '.join(result.columns)}", f"the contract's columns: {', '.join(wanted)}")
    try:
        result = result.select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{column.name} {describe(column.type)}" for column in mart.columns)
        raise _refuse(mart, f"a value does not fit: {error}", types) from error
    for column in mart.columns:
        if column.required and result[column.name].null_count():
            raise _refuse(
                mart, f"{column.name} is null in {result[column.name].null_count()} rows", "a value, as required"
            )
    if not result.select(mart.merge_key).is_duplicated().any():
        return result
    raise _refuse(mart, "yields a key twice", f"one row for each {', '.join(mart.merge_key)}")


def _check_keys(mart: Mart, rows: pl.DataFrame, wanted: pl.DataFrame) -> None:
    strays = rows.join(wanted, on=list(mart.partitioned_by), how="anti")
    if not strays.is_empty():
        found = ", ".join(map(str, strays.select(mart.partitioned_by).row(0)))
        raise _refuse(
            mart, f"yields rows of {found}, which no input row belongs to", "rows of the inputs' own table partitions"
        )


def _portions(keys: list[Key], mart: Mart, silvers: Mapping[str, Table]) -> Iterator[list[Key]]:
    columns = [DATE_COLUMN, REGION_COLUMN][: len(mart.partitioned_by)]
    sizes: dict[Key, int] = {}
    for silver in silvers.values():
        for *key, count in silver.files().group_by(columns).agg(pl.sum("num_records")).iter_rows():
            found = Key(key[0], key[1] if len(key) > 1 else None)
            sizes[found] = sizes.get(found, 0) + count
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


def _refuse(mart: Mart, found: str, expected: str) -> ContractError:
    return ContractError(
        f"mart {mart.name}: the SQL {found}", expected=expected, remedy=f"mend the SQL beside {mart.source}"
    )
