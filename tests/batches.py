"""Record batches as a broker keeps them, made by another client library than the one under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kafka.record.default_records import DefaultRecordBatchBuilder

from tests.hostile import Record

GZIP = 1
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
