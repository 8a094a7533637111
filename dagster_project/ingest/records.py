"""From a portion of a topic's log to messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import google_crc32c
import numpy as np
import polars as pl
import pyarrow as pa

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.errors import KafkaError
from dagster_project.ingest import unpack
from dagster_project.ingest.arrow import ends, spans
from dagster_project.ingest.compiled import Bytes, Numbers, Sizes
from dagster_project.ingest.unpack import Bodies, Headers, Records
from dagster_project.lake import specs
from dagster_project.topics.batches import LARGEST_BYTES, Batch, Run, classified, runs
from dagster_project.topics.feed import Portion

_HEADERS = specs.MESSAGE["_headers"]
# In memory together, of one portion; it is taken on from there. An answer of a leader that unpacks to sixteen times its size.
_MOST_BYTES = 2 * LARGEST_BYTES
# Of a record in memory beside its content, and of the shortest one in its batch.
_RECORD_BYTES, _LEAST = 100, 7
# A header takes as much as a record does, and two bytes of its batch.
_MOST_HEADERS = LARGEST_BYTES // _RECORD_BYTES
# Rows of a batch that is refused, at a time.
_MOST_REFUSED = 2_000_000
_TOO_LARGE = f"batch.size: it unpacks to more than {LARGEST_BYTES >> 20} MiB, as it would take in memory"
# Times that can be told of: the calendar's, but for its first and last day. Producers may write any.
_FIRST_MS, _LAST_MS = -62_135_510_400_000, 253_402_214_400_000


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The committed messages of a portion.

    Attributes:
        messages: as `Fetched.messages`.
        next: the offset behind the portion's last whole batch, of whatever kind it is.
        gaps: runs of offsets that hold no message.
        bytes: of keys, payloads and headers.
    """

    partition: int
    messages: pl.DataFrame
    next: int
    gaps: tuple[Run, ...]
    bytes: int


def opened(portion: Portion, *, topic: str, following: int) -> Opened:
    """Take the messages out of a portion, from an offset on: out of as many of its batches as may be in memory together.

    A batch that takes too much by itself was made for that: of its messages there are the offsets, and why there is no more.

    Raises:
        KafkaError: a batch is damaged, or of a format that nobody knows.
    """
    batches: list[Batch] = []
    contents: list[bytes | memoryview] = []
    sizes: list[int] = []  # of the portion up to the end of each
    end, size, room = following, 0, _MOST_BYTES
    for batch, kind in classified(portion.content, portion.aborted):
        _check(batch, topic, portion.partition)
        if kind == "data" and batch.last >= following:
            content = batch.content()
            taken = LARGEST_BYTES + 1 if content is None else len(content) + batch.records * _RECORD_BYTES
            if content is None or taken > (room if batches else LARGEST_BYTES):
                if batches:
                    portion = _start(portion, size)
                    break
                return _refused(batch, _start(portion, size + batch.size), topic=topic, following=following)
            if not 0 <= batch.records * _LEAST <= len(content):
                raise _damaged(batch, topic, portion.partition, f"there is no room in it for {batch.records} records")
            room -= taken
            batches.append(batch)
            contents.append(content)
            sizes.append(size + batch.size)
        end, size = max(end, batch.last + 1), size + batch.size
    content = np.frombuffer(b"".join(contents), np.uint8)
    found = _found(
        content, [*map(len, contents)], batches, topic=topic, partition=portion.partition, following=following
    )
    if int(found.headers.sum()) > _MOST_HEADERS:
        if len(batches) == 1:
            return _refused(batches[0], _start(portion, sizes[0]), topic=topic, following=following)
        return opened(_start(portion, sizes[len(batches) // 2 - 1]), topic=topic, following=following)
    return Opened(
        partition=portion.partition,
        messages=_frame(content, found, topic, portion.partition),
        next=end,
        gaps=_gaps(portion, following),
        bytes=len(content),
    )


def _start(portion: Portion, size: int) -> Portion:
    return replace(portion, content=portion.content[:size])


def _gaps(portion: Portion, following: int) -> tuple[Run, ...]:
    found = runs(portion.content, portion.aborted, following=following)
    return tuple(run for run in found if run.kind != "data")


def _refused(batch: Batch, portion: Portion, *, topic: str, following: int) -> Opened:
    """The messages of a batch that is too large, the last one of a portion, as far as it can be known without all of it.

    Of very many the first ones; the others are opened by themselves.
    """
    places = (offset for first, last in batch.present() for offset in range(max(first, following), last + 1))
    offsets = [*islice(places, _MOST_REFUSED)]
    end = max(following, batch.last + 1) if next(places, None) is None else offsets[-1] + 1
    numbers, sizes = np.zeros((6, len(offsets)), np.int64), np.full((2, len(offsets)), -1, np.int32)
    found = _records(numbers, sizes)
    found.offset[:], found.time[:] = offsets, batch.latest
    messages = _frame(np.zeros(1, np.uint8), found, topic, portion.partition)
    return Opened(
        partition=portion.partition,
        messages=messages.with_columns(pl.lit(_TOO_LARGE).alias(specs.ERROR)),
        next=end,
        gaps=tuple(gap for gap in _gaps(portion, following) if gap.last < end),
        bytes=batch.size,
    )


def _found(
    content: Bytes, sizes: Sequence[int], batches: Sequence[Batch], *, topic: str, partition: int, following: int
) -> Records:
    bodies = Bodies(
        at=np.cumsum([0, *sizes], dtype=np.int64),
        records=np.array([batch.records for batch in batches], np.int64),
        base=np.array([batch.base for batch in batches], np.int64),
        time=np.array([batch.time for batch in batches], np.int64),
        appended=np.array([batch.latest if batch.appended else -1 for batch in batches], np.int64),
    )
    room = int(bodies.records.sum())
    numbers, lengths = np.empty((6, room), np.int64), np.empty((2, room), np.int32)
    found = _records(numbers, lengths)
    used = unpack.records(content, bodies, following, found)
    if used < 0:
        raise _damaged(batches[-1 - used], topic, partition, "its records do not fit into it")
    return _records(numbers[:, :used], lengths[:, :used])


def _records(numbers: Numbers, sizes: Sizes) -> Records:
    """Records that are kept in the rows of two arrays."""
    return Records(
        offset=numbers[0],
        time=numbers[1],
        key_at=numbers[2],
        key=sizes[0],
        value_at=numbers[3],
        value=sizes[1],
        headers_at=numbers[4],
        headers=numbers[5],
    )


def nothing() -> pl.DataFrame:
    """No message: what a frame of messages looks like."""
    return opened(Portion(partition=0, content=b"", aborted=(), end=0), topic="", following=0).messages


def _check(batch: Batch, topic: str, partition: int) -> None:
    """What was damaged on its way or on a disk is not a message."""
    found = google_crc32c.value(bytes(batch.covered))
    if found != batch.checksum:
        raise _damaged(batch, topic, partition, f"its checksum is {found:08x}, not {batch.checksum:08x}")


def _damaged(batch: Batch, topic: str, partition: int, how: str) -> KafkaError:
    return KafkaError(
        f"topic {topic!r}: the batch at {partition}/{batch.base}-{batch.last} is damaged: {how}",
        expected="every batch as its producer has sealed it",
        remedy="have another replica lead the Kafka partition, then run again; if none is whole, see `lakehouse loss list`",
    )


def _frame(content: Bytes, found: Records, topic: str, partition: int) -> pl.DataFrame:
    count = len(found.offset)
    own, entries = (
        _headers(content, found) if found.headers.any() else (None, pl.repeat([], count, dtype=_HEADERS, eager=True))
    )
    # Without a header the coordinates say as much.
    coordinates = pl.format(f"{{}}/{partition}/{{}}", pl.lit(topic), "_kafka_offset")
    return pl.select(
        pl.repeat(partition, count, dtype=pl.Int32).alias("_kafka_partition"),
        pl.Series("_kafka_offset", found.offset),
        pl.Series("_kafka_timestamp", found.time.clip(_FIRST_MS, _LAST_MS))
        .cast(pl.Datetime("ms", "UTC"))
        .cast(TIMESTAMP),
    ).with_columns(
        (coordinates if own is None else pl.coalesce(own, coordinates)).alias("_correlation_id"),
        pl.Series("_key", spans(pa.binary_view(), content, found.key_at, found.key), dtype=pl.Binary),
        pl.Series("_payload", spans(pa.binary_view(), content, found.value_at, found.value), dtype=pl.Binary),
        entries.alias("_headers"),
    )


def _headers(content: Bytes, found: Records) -> tuple[pl.Series, pl.Series]:
    """Correlation ids, null where there is none, and all headers as a list column."""
    room = int(found.headers.sum())
    numbers, sizes = np.empty((2, room), np.int64), np.empty((2, room), np.int32)
    parts = Headers(
        key_at=numbers[0],
        key=sizes[0],
        value_at=numbers[1],
        value=sizes[1],
        correlation=np.empty(len(found.headers), np.int64),
    )
    if unpack.headers(content, found, parts) < 0:
        raise KafkaError(
            "the headers of a record do not fit into it", remedy="see which producer writes them, and with what library"
        )
    values = pl.Series("value", spans(pa.binary_view(), content, parts.value_at, parts.value), dtype=pl.Binary)
    keys = _texts(pl.Series(spans(pa.binary_view(), content, parts.key_at, parts.key), dtype=pl.Binary))
    pairs = pl.DataFrame({"key": keys, "value": values}).to_struct()
    # Arrow knows lists by their ends, which polars would have to find out by grouping.
    lists = pa.LargeListArray.from_arrays(ends(found.headers), pairs.to_arrow())
    named = pl.Series(parts.correlation)
    return _texts(values.gather(named.set(named < 0, None))), pl.Series(lists, dtype=_HEADERS)


def _texts(values: pl.Series) -> pl.Series:
    """As text; bytes that are none become the replacement character, for whoever sent them is to be found nevertheless."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
        return pl.Series(texts, dtype=pl.String)
