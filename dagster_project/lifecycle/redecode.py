"""Bronze's typed columns, made again from the payloads beside them."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.payloads import read_again

# Rows of one commit: bounds memory, payloads and what is decoded of them.
_ROWS = 200_000


def redecode(dataset: Dataset, keys: Collection[Key], *, storage: Storage, registry: str) -> list[Key]:
    """Put what payloads say in the place of typed values that are others; returns the table partitions that had some.

    A row stays as it is where its payload is no event of its table partition by the present contract: what was once received
    and placed is not called poison afterwards, and `lakehouse verify --payloads` names it.

    Args:
        registry: URL of the schema registry, where the contract's messages name schemas.

    Raises:
        StaleCursorError: another writer has rewritten the same table; a further call goes on.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is None:
        return []
    dated = [key for key in keys if key.date is not None]
    files = bronze.files().join(frame_of(dated), on=specs.KEYS, how="semi")
    number = (pl.col("num_records").cum_sum() // _ROWS).alias("_portion")
    portions = files.sort(*specs.KEYS, "path").with_columns(number)
    changed: list[Key] = []
    for portion in portions.partition_by("_portion", maintain_order=True, include_key=False):
        rows = bronze.rows(portion).collect(engine="in-memory")
        decoded = read_again(dataset, rows, registry=registry)
        same = (decoded["_kind"] == specs.EVENT) & decoded.select(
            pl.all_horizontal(pl.col(name).eq_missing(rows[name]) for name in specs.KEYS)
        ).to_series()
        values = [name for name in decoded.columns if name in rows.columns and not name.startswith("_")]
        better = rows.with_columns(
            pl.when(same).then(decoded[name].cast(rows.schema[name])).otherwise(rows[name]).alias(name)
            for name in values
        )
        other = better.select(pl.any_horizontal(pl.col(name).ne_missing(rows[name]) for name in values)).to_series()
        if not other.any():
            continue
        bronze.commit(better, remove=portion, cursors={}, metadata={"decoded_again": int(other.sum())})
        changed += keys_of(better.filter(other))
    return changed
