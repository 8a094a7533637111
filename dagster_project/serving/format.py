"""Rows as the cache keeps them: Arrow's stream format, its schema once and the record batches of each table partition.

Arrow and not JSON: decimals, times and lists come back as they went in, ten thousand rows in a millisecond, in any language.
A stream is a schema, record batches and an end; so the batches of any table partitions, put together, are a stream again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import polars as pl

# How each message of a stream begins, before the length of its head; the end is one without any.
_MARK = b"\xff\xff\xff\xff"
_END = _MARK + bytes(4)
# The mark and the length that stand before a message's head. A schema is a head alone.
_BEFORE = 8


def schema_of(rows: pl.DataFrame) -> bytes:
    """The message that batches of these columns come after."""
    return _split(rows.clear())[0]


def batches_of(rows: pl.DataFrame) -> bytes:
    """The rows, without the schema."""
    return _split(rows)[1]


def rows_of(schema: bytes, batches: Iterable[bytes]) -> pl.DataFrame:
    """Rows of some table partitions, one after the other."""
    return pl.read_ipc_stream(io.BytesIO(b"".join((schema, *batches, _END)))).rechunk()


def _split(rows: pl.DataFrame) -> tuple[bytes, bytes]:
    stream = io.BytesIO()
    # lz4: a third of the size for some microseconds. The oldest level: strings as every reader of Arrow knows them.
    rows.write_ipc_stream(stream, compression="lz4", compat_level=pl.CompatLevel.oldest())
    content = stream.getvalue()
    assert content.startswith(_MARK), "not a stream of Arrow messages"
    first = _BEFORE + int.from_bytes(content[len(_MARK) : _BEFORE], "little")
    return content[:first], content[first:].removesuffix(_END)
