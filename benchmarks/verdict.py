"""The verdict: a system's Delta tables against the oracle, row for row and value for value.

Read with delta-rs and compared in DuckDB, with nothing of the platform. A value of another type is compared by value: a
system may store 32 bits or 64; text in place of a number or a moment is not that value.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from benchmarks import oracle

# Keys of each kind of difference that are named.
_SHOWN = 3
# A comparison of millions of rows goes on on disk from here on.
_MEMORY = "4GB"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A table that is compared: its columns by type, and those that make a row's key.

    Attributes:
        summed: rows of several oracles with the same key are one row.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    summed: bool = False


SILVER = Shape(
    name="silver",
    key=("order_id",),
    columns={
        "order_id": "VARCHAR",
        "ordered_at": "TIMESTAMPTZ",
        "event_time": "TIMESTAMPTZ",
        "region": "VARCHAR",
        "status": "VARCHAR",
        "customer_id": "VARCHAR",
        "currency": "VARCHAR",
        "amount": "DECIMAL(18, 2)",
        "items": "STRUCT(sku VARCHAR, quantity INTEGER, unit_price DECIMAL(18, 2))[]",
        "note": "VARCHAR",
    },
)
GOLD = Shape(
    name="gold",
    key=("event_date", "region", "currency"),
    columns={
        "event_date": "DATE",
        "region": "VARCHAR",
        "currency": "VARCHAR",
        "orders": "BIGINT",
        "cancelled": "BIGINT",
        "units": "BIGINT",
        "revenue": "DECIMAL(18, 2)",
    },
    summed=True,
)
_UNTYPED = ("VARCHAR", "BLOB")
# Where a table is: that of a peer, or of the platform.
_PLACES = {
    "bronze": ("bronze/orders", "bronze"),
    "silver": ("silver/orders", "silver"),
    "gold": ("gold/revenue_daily", "gold"),
}


def judge(tables: Path, oracles: Sequence[Path]) -> list[str]:
    """What is wrong with a system's output; nothing, if it is as it must be.

    Args:
        tables: the folder with its Delta tables.
        oracles: folders of the oracles of all workloads that it was given.
    """
    found = {name: _find(tables, name) for name in _PLACES}
    problems = [f"{name}: no such table" for name, table in found.items() if table is None]
    if (bronze := found["bronze"]) is not None:
        problems += _bronze(bronze, oracles)
    # A file, so that what does not fit into memory has a place.
    with tempfile.TemporaryDirectory() as folder, closing(duckdb.connect(f"{folder}/verdict.duckdb")) as database:
        database.execute(
            f"SET TimeZone = 'UTC'; SET enable_progress_bar = false; SET memory_limit = '{_MEMORY}'; SET preserve_insertion_order = false"
        )
        for shape in (SILVER, GOLD):
            if (table := found[shape.name]) is not None:
                files = [str(oracle / f"{shape.name}.parquet") for oracle in oracles]
                problems += _take(database, shape, table, files) or _differences(database, shape)
    return problems


def _find(tables: Path, name: str) -> DeltaTable | None:
    places = (str(tables / place) for place in _PLACES[name])
    return next((DeltaTable(place) for place in places if DeltaTable.is_deltatable(place)), None)


def _bronze(table: DeltaTable, oracles: Sequence[Path]) -> list[str]:
    """Its rows are counted: all messages, but for those that a system sets aside before."""
    counts = sum(map(Counter, map(oracle.counts, oracles)), Counter[str]())
    rows, most = table.count(), counts["events"]
    least = most - counts["poison"] - counts["gated"]
    return [] if least <= rows <= most else [f"bronze: {rows} rows, expected {least} to {most}"]


def _take(database: duckdb.DuckDBPyConnection, shape: Shape, table: DeltaTable, files: list[str]) -> list[str]:
    """Make the tables `found` and `expected` of one shape; answers what makes that impossible."""
    names = [field.name for field in table.schema().fields]
    if lacking := [column for column in shape.columns if column not in names]:
        return [f"{shape.name}: no column {', '.join(lacking)}"]
    columns = ", ".join(shape.columns)
    database.register("delta", pa.RecordBatchReader.from_stream(table.scan(columns=list(shape.columns))))
    database.execute(f"CREATE OR REPLACE TABLE stored AS SELECT {columns} FROM delta")
    database.unregister("delta")
    stored: dict[str, str] = {name: kind for name, kind, *_ in database.execute("DESCRIBE stored").fetchall()}
    if untyped := [name for name, kind in shape.columns.items() if kind != "VARCHAR" and stored[name] in _UNTYPED]:
        return [f"{shape.name}: {name} is {stored[name]}, expected {shape.columns[name]}" for name in untyped]
    typed = ", ".join(f"try_cast({name} AS {kind}) AS {name}" for name, kind in shape.columns.items())
    database.execute(f"CREATE OR REPLACE VIEW found AS SELECT {typed} FROM stored")
    sums = ", ".join(
        name if name in shape.key else f"sum({name})::{kind} AS {name}" for name, kind in shape.columns.items()
    )
    merged = (
        f"{sums} FROM read_parquet($files) GROUP BY ALL" if shape.summed else f"{columns} FROM read_parquet($files)"
    )
    database.execute(f"CREATE OR REPLACE TABLE expected AS SELECT {merged}", {"files": files})
    return []


def _differences(database: duckdb.DuckDBPyConnection, shape: Shape) -> list[str]:
    key = ", ".join(shape.key)
    # Read by people: a key's parts with blanks between them.
    named = f"concat_ws(' ', {key})"
    wrong = ", ".join(
        f"CASE WHEN found.{name} IS DISTINCT FROM expected.{name} THEN "
        f"concat('{name} ', coalesce(found.{name}::VARCHAR, 'null'), ', not ', coalesce(expected.{name}::VARCHAR, 'null')) END"
        for name in shape.columns
        if name not in shape.key
    )
    rows = {
        "doubled": f"SELECT {named} AS told FROM found GROUP BY {key} HAVING count(*) > 1",
        "missing": f"SELECT {named} AS told FROM expected ANTI JOIN found USING ({key})",
        "extra": f"SELECT {named} AS told FROM found ANTI JOIN expected USING ({key})",
        "altered": f"SELECT {named} || ': ' || wrong AS told FROM (SELECT {key}, concat_ws('; ', {wrong}) AS wrong "
        f"FROM found JOIN expected USING ({key})) WHERE wrong <> ''",
    }
    problems: list[str] = []
    for kind, query in rows.items():
        count, first = database.execute(f"SELECT count(*), min(told, {_SHOWN}) FROM ({query})").fetchall()[0]
        if count:
            more = ", …" if count > _SHOWN else ""
            problems.append(f"{shape.name}: {count} rows {kind}: {', '.join(first)}{more}")
    return problems
