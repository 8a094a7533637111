"""The floor: the least that any system must do with these bytes, decode them and write them down as columns.

DuckDB parses the payloads from a file in memory, polars writes them as Parquet. No Kafka, no rules, no second pass,
nothing to fall back on: what does not parse is left out.
"""

from __future__ import annotations

import duckdb
import polars as pl

from benchmarks.ground import CONTRACTS
from benchmarks.peers.protocol import Drain, Task, serve
from dagster_project.contract.dtypes import duckdb_type
from dagster_project.contract.loader import load_catalog

# Rows of one file: bounds memory at some hundred MB, and is large enough that its overhead is nothing.
_ROWS = 1_000_000


def prepare(task: Task) -> Drain:
    (dataset,) = load_catalog(CONTRACTS / "retail").datasets
    columns = {column.name: duckdb_type(column.type) for column in dataset.columns}
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    task.out.mkdir(parents=True, exist_ok=True)

    def drain() -> dict[str, int]:
        events = connection.read_json(
            str(task.events_file), columns=columns, format="newline_delimited", ignore_errors=True
        )
        rows = 0
        for number, batch in enumerate(events.to_arrow_reader(_ROWS)):
            frame = pl.DataFrame(batch)
            frame.write_parquet(task.out / f"{number}.parquet", compression="zstd", compression_level=1)
            rows += len(frame)
        return {"rows_bronze": rows}

    return drain


if __name__ == "__main__":
    serve(prepare)
