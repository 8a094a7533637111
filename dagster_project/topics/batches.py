"""What Kafka's record batches say of their offsets: mostly in their headers, so that no message need be opened."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from functools import partial
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
# Of a batch once it is unpacked. What is not packed cannot be larger, as no larger answer is taken from a broker; so what is
# larger has been packed for its size alone.
LARGEST_BYTES = 128 << 20
_PIECE_BYTES = 1 << 16  # to ask for more at a time costs more than what comes of it
_SNAPPY_RATIO = 32  # it copies 64 bytes at most by three of its own
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

    @property
    def size(self) -> int:
        """Bytes of all of it in the log."""
        return len(self.covered) + _CHECKED

    def content(self) -> bytes | memoryview | None:
        """The records, unpacked; `None` where they are larger than any batch may be."""
        codec = self.attributes & _CODEC
        if codec == 0 or not self.body:
            return self.body
        pieces, size = list[bytes](), 0
        for piece in _unpacked(self.body, codec):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST_BYTES:
                return None
        return b"".join(pieces)

    def present(self) -> Iterable[tuple[int, int]]:
        """Runs of offsets that it has records of."""
        if self.records == self.last - self.base + 1:
            return ((self.base, self.last),)
        # Compacted: which of its offsets are left is written in the records alone.
        deltas = _deltas(_Reader(_unpacked(self.body, self.attributes & _CODEC)), self.records)
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


class _Reader:
    """Bytes that come in pieces, of which no more than one is kept."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._next = 0  # in the piece
        self.at = 0

    def byte(self) -> int:
        while self._next == len(self._piece):
            self._piece, self._next = next(self._pieces), 0
        self._next, self.at = self._next + 1, self.at + 1
        return self._piece[self._next - 1]

    def skip(self, to: int) -> None:
        while to - self.at > len(self._piece) - self._next:
            self.at += len(self._piece) - self._next
            self._piece, self._next = next(self._pieces, b""), 0
            if not self._piece:
                return
        self._next, self.at = self._next + to - self.at, to

    def number(self) -> int:
        """A zigzag number."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 the top bit says that more follows
                return (value >> 1) ^ -(value & 1)
            shift += 7


def _deltas(content: _Reader, count: int) -> Iterator[int]:
    """Offsets of a batch's records, from its base."""
    for _ in range(count):
        length = content.number()
        end = content.at + length
        content.skip(content.at + 1)  # the attributes
        content.number()  # the time
        yield content.number()
        content.skip(end)


def _unpacked(body: memoryview, codec: int) -> Iterator[bytes]:
    """The records in pieces, so that nobody must take all of them to know that they are too many."""
    if codec == 0:
        yield bytes(body)
    elif codec == _SNAPPY:
        yield from _snappy(bytes(body))
    else:
        with pa.CompressedInputStream(pa.BufferReader(body), _CODECS[codec]) as stream:
            yield from iter(partial(stream.read, _PIECE_BYTES), b"")


def _snappy(content: bytes) -> Iterator[bytes]:
    if not content.startswith(_XERIAL):
        yield _snappy_block(content)
        return
    stream = io.BytesIO(content)
    stream.seek(len(_XERIAL) + 8)
    while size := stream.read(4):
        yield _snappy_block(stream.read(int.from_bytes(size)))


def _snappy_block(block: bytes) -> bytes:
    # The block begins with its unpacked size, a plain varint, which Arrow wants to be told.
    size = shift = at = 0
    while True:
        size |= (block[at] & 0x7F) << shift
        if block[at] < 0x80:  # noqa: PLR2004 as above
            if size > len(block) * _SNAPPY_RATIO:  # room for it would be made before anything is unpacked
                raise KafkaError(
                    f"a block of snappy of {len(block)} bytes says that it holds {size}",
                    expected=f"no more than {_SNAPPY_RATIO} times as many, which is beyond what its format can do",
                    remedy="see which producer writes it, and with what library",
                )
            return pa.decompress(block, size, "snappy", asbytes=True)
        at, shift = at + 1, shift + 7
