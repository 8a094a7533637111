"""A search of every object of the lake for a subject, in all that a reader could unpack: the proof that it is forgotten."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq

from dagster_project.lake.storage import Storage
from dagster_project.lifecycle.subject import Subject

# Rows that are unpacked at a time: bounds memory.
_ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What was looked at.

    Attributes:
        hits: paths below the lake of objects that hold the subject.
    """

    objects: int
    bytes: int
    hits: tuple[str, ...]


def search(subject: Subject, *, storage: Storage, report: Callable[[int, int], object]) -> Searched:
    """Look into every object below the root of the lake; what is deleted meanwhile is none.

    Args:
        report: told how many objects of how many were looked at.

    Raises:
        LakeError: the store cannot be listed.
    """
    storage.check()
    filesystem = storage.filesystem()
    root = storage.uri.removeprefix("s3://")
    paths = sorted(map(str, filesystem.find(root)))
    size = looked = 0
    hits: list[str] = []
    for count, path in enumerate(paths, 1):
        try:
            content = filesystem.cat_file(path)
        except FileNotFoundError:
            continue
        assert isinstance(content, bytes)
        size, looked = size + len(content), looked + 1
        if any(subject.is_in(rows).any() for rows in _rows(path, content)):
            hits.append(path.removeprefix(f"{root}/"))
        report(count, len(paths))
    return Searched(objects=looked, bytes=size, hits=tuple(hits))


def _rows(path: str, content: bytes) -> Iterator[pl.DataFrame]:
    """What an object holds, as rows: of Parquet its own, and of all else its lines."""
    if path.endswith(".parquet"):
        for batch in pq.ParquetFile(io.BytesIO(content)).iter_batches(_ROWS):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            # What a table is partitioned by is in the names of folders alone.
            folders = (step.partition("=") for step in path.split("/") if "=" in step)
            yield frame.with_columns(pl.lit(unquote(value)).alias(name) for name, _, value in folders)
    else:
        yield pl.DataFrame({"": content.splitlines()}, schema={"": pl.Binary})
