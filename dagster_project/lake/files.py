"""Parquet files of table partitions, and the Delta actions that describe them."""

from __future__ import annotations

import datetime as dt
import io
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
import polars as pl
from deltalake.transaction import AddAction

from dagster_project.lake import meter
from dagster_project.lake.storage import denied

# Level 1 costs within a few percent of lz4 here and leaves files a third smaller.
_ZSTD_LEVEL = 1
# Encoding releases the interpreter's lock; more threads than cores hide the store's latency.
_WRITERS = 4
# What one file holds at most, whatever share of the rows falls into one table partition: a reader or a merge that looks
# at a file holds some hundred MB. As many rows as compaction puts together, and twice as many bytes, so that what is
# written here is never small enough to be put together again for ever.
_FILE_ROWS = 500_000
_FILE_BYTES = 64 * 1024 * 1024
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


def write_files(
    frame: pl.DataFrame,
    *,
    filesystem: fsspec.AbstractFileSystem,
    uri: str,
    partition_by: Sequence[str],
    statistics: Sequence[str],
    own_statistics: bool = True,
    data_change: bool = True,
) -> list[AddAction]:
    """Write a frame as Parquet files, mostly one a table partition; no reader sees them until the actions are committed.

    Args:
        frame: rows, with the partition columns among them.
        statistics: columns whose minimum and maximum go into the log, so that readers can skip files.
        own_statistics: whether the files have those of all columns, so that readers can skip parts of them.
        data_change: whether the rows are new; if not, they stand in for files that the same commit removes.

    Raises:
        LakeError: this process may not write there.
    """
    if frame.is_empty():
        return []

    def write(part: tuple[tuple[Any, ...], pl.DataFrame]) -> list[AddAction]:
        keys, rows = part
        return [put(keys, rows, content) for rows, content in _encoded(rows, own_statistics=own_statistics)]

    def put(keys: tuple[Any, ...], rows: pl.DataFrame, content: bytes) -> AddAction:
        values = {name: None if key is None else str(key) for name, key in zip(partition_by, keys, strict=True)}
        folder = "/".join(f"{name}={value or _NULL_FOLDER}" for name, value in values.items())
        path = "/".join(filter(None, [folder, f"{uuid.uuid4().hex}.parquet"]))
        try:
            filesystem.pipe_file(f"{uri}/{path}", content)
        except PermissionError as error:
            raise denied(f"write {uri}/{path}", error) from error
        meter.wrote(len(content))
        return AddAction(
            path=path,
            size=len(content),
            partition_values=values,
            modification_time=int(time.time() * 1000),
            data_change=data_change,
            stats=_statistics(rows, statistics),
        )

    parts = frame.partition_by(partition_by, as_dict=True, include_key=False) if partition_by else {(): frame}
    with ThreadPoolExecutor(_WRITERS) as pool:
        return [action for actions in pool.map(write, parts.items()) for action in actions]


def _encoded(rows: pl.DataFrame, *, own_statistics: bool) -> Iterator[tuple[pl.DataFrame, bytes]]:
    """The rows as Parquet, in halves where one file would be too large."""
    if len(rows) <= _FILE_ROWS:
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd", compression_level=_ZSTD_LEVEL, statistics=own_statistics)
        if buffer.tell() <= _FILE_BYTES or len(rows) == 1:
            yield rows, buffer.getvalue()
            return
    middle = len(rows) // 2
    yield from _encoded(rows[:middle], own_statistics=own_statistics)
    yield from _encoded(rows[middle:], own_statistics=own_statistics)


def _statistics(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    return json.dumps(
        {
            "numRecords": len(rows),
            "minValues": _bounds({column: rows[column].min() for column in columns}),
            "maxValues": _bounds({column: rows[column].max() for column in columns}),
            "nullCount": {column: rows[column].null_count() for column in columns},
        }
    )


def _bounds(row: Mapping[str, Any]) -> dict[str, int | str]:
    return {name: _json_value(value) for name, value in row.items() if value is not None}


def _json_value(value: Any) -> int | str:
    # Microseconds, as delta-rs writes them itself: the milliseconds of the protocol would cut a maximum short.
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, dt.date) else value
