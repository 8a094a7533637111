"""From a portion of a topic's log to messages."""

from __future__ import annotations

from dataclasses import dataclass

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
from dagster_project.topics.batches import Batch, Run, classified, runs
from dagster_project.topics.feed import Portion

_HEADERS = specs.MESSAGE["_headers"]


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
    """Take the messages out of a portion, from an offset on.

    Raises:
        KafkaError: a batch is damaged, or of a format that nobody knows.
    """
    batches: list[Batch] = []
    end = following
    for batch, kind in classified(portion.content, portion.aborted):
        _check(batch, topic, portion.partition)
        end = max(end, batch.last + 1)
        if kind == "data":
            batches.append(batch)
    contents = [batch.content() for batch in batches]
    content = np.frombuffer(b"".join(contents), np.uint8)
    bodies = Bodies(
        at=np.cumsum([0, *map(len, contents)], dtype=np.int64),
        records=np.array([batch.records for batch in batches], np.int64),
        base=np.array([batch.base for batch in batches], np.int64),
        time=np.array([batch.time for batch in batches], np.int64),
        appended=np.array([batch.latest if batch.appended else -1 for batch in batches], np.int64),
    )
    room = int(bodies.records.sum())
    numbers, sizes = np.empty((6, room), np.int64), np.empty((2, room), np.int32)
    found = _records(numbers, sizes)
    used = unpack.records(content, bodies, following, found)
    if used < 0:
        raise _damaged(batches[-1 - used], topic, portion.partition, "its records do not fit into it")
    numbers, sizes = numbers[:, :used], sizes[:, :used]
    found = _records(numbers, sizes)
    messages = _frame(content, found, topic, portion.partition)
    found_runs = runs(portion.content, portion.aborted, following=following)
    gaps = tuple(run for run in found_runs if run.kind != "data")
    return Opened(partition=portion.partition, messages=messages, next=end, gaps=gaps, bytes=len(content))


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
        pl.Series("_kafka_timestamp", found.time).cast(pl.Datetime("ms", "UTC")).cast(TIMESTAMP),
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
