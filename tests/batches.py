"""Record batches as a broker keeps them, made by another client library than the one under test."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import google_crc32c
import pyarrow as pa
from kafka.record.default_records import DefaultRecordBatchBuilder

from tests.hostile import Record

GZIP, LZ4, ZSTD = 1, 3, 4
_NAMES = {GZIP: "gzip", LZ4: "lz4", ZSTD: "zstd"}
_MAGIC = 2
_ROOM = 1 << 30
_BASE = struct.Struct(">q")


def batch(records: Sequence[Record], *, codec: int = 0, producer: int = -1, transactional: bool = False) -> bytes:
    """One batch of records, which come in the order of their offsets."""
    builder = DefaultRecordBatchBuilder(
        magic=_MAGIC,
        compression_type=codec,
        is_transactional=transactional,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=_ROOM,
    )
    base = records[0].place
    for record in records:
        builder.append(record.place - base, record.sent_ms, record.name, record.content, record.fields or [])
    content = bytearray(builder.build())
    _BASE.pack_into(content, 0, base)  # a broker does that, and the checksum leaves it out
    return bytes(content)


def packed(
    records: int, unpacked: Iterable[bytes], *, codec: int = GZIP, base: int = 0, last: int | None = None
) -> bytes:
    """A batch of so many records around bytes that nobody has looked at, packed piece by piece."""
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, _NAMES[codec]) as file:
        for piece in unpacked:
            file.write(piece)
    body = stream.getvalue().to_pybytes()
    last = base + records - 1 if last is None else last
    covered = struct.pack(">hiqqqhii", codec, last - base, 1_000, 1_000, -1, -1, -1, records) + body
    sealed = struct.pack(">ibI", 0, _MAGIC, google_crc32c.value(covered)) + covered
    return struct.pack(">qi", base, len(sealed)) + sealed
