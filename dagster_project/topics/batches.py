"""What Kafka's record batches say of their offsets: mostly in their headers, so that no message need be opened."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import pyarrow as pa

from dagster_project.errors import KafkaError

Kind = Literal["data", "control", "aborted", "compacted"]
# base offset, length of what follows these two, leader epoch, magic, checksum, attributes, last offset delta, first and
# greatest timestamp, producer id, producer epoch, base sequence, number of records
_HEADER = struct.Struct(">qiibIhiqqqhii")
_OVERHEAD = 12  # base offset and length, which the length does not count
_CHECKED = 21  # from the attributes on, the checksum is of everything
_MAGIC = 2  # of all batches since Kafka 0.11
_CODEC, _APPENDED, _TRANSACTIONAL, _CONTROL = 0b111, 1 << 3, 1 << 4, 1 << 5
_CODECS = {1: "gzip", 3: "lz4", 4: "zstd"}
_SNAPPY = 2
_XERIAL = b"\x82SNAPPY\x00"  # the frame that Java puts around blocks of snappy; then two version numbers


class Run(NamedTuple):
    """Offsets of one kind, both ends included."""

    first: int
    last: int
    kind: Kind


def runs(content: bytes, aborted: Iterable[tuple[int, int]], *, following: int) -> Iterator[Run]:
    """The runs of one answer to a read-committed fetch, from `following` on, without a hole between them.

    Args:
        content: record batches; the last may be cut short and is then left out.
        aborted: producer id and first offset of the aborted transactions among them.
        following: the offset that was asked for; the first batch may begin before it.

    Raises:
        KafkaError: a batch is of another format.
    """
    for batch, kind in classified(content, aborted):
        for first, last in batch.present():
            if first > following:
                yield Run(following, first - 1, "compacted")
            if last >= following:
                yield Run(max(first, following), last, kind)
                following = last + 1
        if batch.last >= following:
            yield Run(following, batch.last, "compacted")
            following = batch.last + 1


def classified(content: bytes, aborted: Iterable[tuple[int, int]]) -> Iterator[tuple[Batch, Kind]]:
    """Record batches, and of which kind the records in each are: data, control or aborted. Arguments and errors as in `runs`."""
    waiting = sorted(((first, producer) for producer, first in aborted), reverse=True)
    failed: set[int] = set()
    for batch in _batches(content):
        while waiting and waiting[-1][0] <= batch.last:
            failed.add(waiting.pop()[1])
        kind: Kind = "data"
        if batch.attributes & _CONTROL:
            kind = "control"
            failed.discard(batch.producer)  # the end of its transaction, whichever way
        elif batch.attributes & _TRANSACTIONAL and batch.producer in failed:
            kind = "aborted"
        yield batch, kind


class Batch(NamedTuple):
    """A record batch's header, and its records as they are packed.

    Attributes:
        base, last: offsets.
        time: of the first record, ms; the others are told from there.
        latest: of the batch, ms; with `appended`, that of all its records.
        covered: what the checksum is of.
        body: the records, compressed as the attributes say.
    """

    base: int
    last: int
    attributes: int
    time: int
    latest: int
    producer: int
    records: int
    checksum: int
    covered: memoryview
    body: memoryview

    @property
    def appended(self) -> bool:
        """Whether the broker's clock counts, not the producers'."""
        return bool(self.attributes & _APPENDED)

    def content(self) -> bytes | memoryview:
        """The records, decompressed."""
        return _decompress(self.body, self.attributes & _CODEC)

    def present(self) -> Iterable[tuple[int, int]]:
        """Runs of offsets that it has records of."""
        if self.records == self.last - self.base + 1:
            return ((self.base, self.last),)
        # Compacted: which of its offsets are left is written in the records alone.
        deltas = _deltas(self.content(), self.records)
        return ((self.base + delta, self.base + delta) for delta in deltas)


def _batches(content: bytes) -> Iterator[Batch]:
    view, at = memoryview(content), 0
    while at + _HEADER.size <= len(view):
        fields = _HEADER.unpack_from(view, at)
        base, length, _, magic, checksum, attributes, delta, time, latest, producer, _, _, count = fields
        if magic != _MAGIC:
            raise KafkaError(
                f"a record batch of format {magic} at offset {base}",
                expected=f"format {_MAGIC}, as all brokers since 0.11 write it",
                remedy="rewrite the topic with a current broker",
            )
        end = at + _OVERHEAD + length
        if end > len(view):
            return
        covered, body = view[at + _CHECKED : end], view[at + _HEADER.size : end]
        yield Batch(base, base + delta, attributes, time, latest, producer, count, checksum, covered, body)
        at = end


def _deltas(content: bytes | memoryview, count: int) -> Iterator[int]:
    """Offsets of a batch's records, from its base."""
    at = 0
    for _ in range(count):
        length, at = _varint(content, at)
        end = at + length
        _, at = _varint(content, at + 1)  # past the attributes, the time
        delta, _ = _varint(content, at)
        yield delta
        at = end


def _varint(content: bytes | memoryview, at: int) -> tuple[int, int]:
    """A zigzag number, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 the top bit says that more follows
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def _decompress(body: memoryview, codec: int) -> bytes | memoryview:
    if codec == 0 or not body:
        return body
    if codec == _SNAPPY:
        return _snappy(bytes(body))
    with pa.CompressedInputStream(pa.BufferReader(body), _CODECS[codec]) as stream:
        return stream.read()


def _snappy(content: bytes) -> bytes:
    if not content.startswith(_XERIAL):
        return _snappy_block(content)
    stream, blocks = io.BytesIO(content), list[bytes]()
    stream.seek(len(_XERIAL) + 8)
    while size := stream.read(4):
        blocks.append(_snappy_block(stream.read(int.from_bytes(size))))
    return b"".join(blocks)


def _snappy_block(block: bytes) -> bytes:
    # The block begins with its unpacked size, a plain varint, which Arrow wants to be told.
    size = shift = at = 0
    while True:
        size |= (block[at] & 0x7F) << shift
        if block[at] < 0x80:  # noqa: PLR2004 as above
            return pa.decompress(block, size, "snappy", asbytes=True)
        at, shift = at + 1, shift + 7
