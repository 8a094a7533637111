"""From fetched messages to Bronze: decoded, placed in a table partition, committed together with the cursor."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP, polars_schema
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset
from dagster_project.errors import LakehouseError, OvertakenError, StaleCursorError
from dagster_project.ingest import exact, unread
from dagster_project.ingest.cursor import BATCH, Cursor, resume
from dagster_project.ingest.drift import unknown_fields
from dagster_project.ingest.fetch import Fetched, Fetcher, Limits, publish_offsets, reading
from dagster_project.ingest.hot_keys import KeyCounts, count_keys
from dagster_project.ingest.lateness import Newest, cursors_of, measure, newest_events
from dagster_project.ingest.shards import WHOLE, Shard
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.rivals import until_first
from dagster_project.lake.specs import ERROR, RESCUED, named
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.gaps import record_gaps
from dagster_project.ledger.ledger import forgotten, lost
from dagster_project.telemetry.canonical import Line, canonical
from dagster_project.telemetry.spans import span
from dagster_project.topics.broker import Broker, Topic
from dagster_project.topics.offsets import Offsets
from dagster_project.topics.offsets import place as offset_place

if TYPE_CHECKING:
    from dagster_project.ingest.wire import Decodes

# Clocks of producers run ahead; an event of the day after it was sent still has a table partition, one of next week is
# a broken clock. "Sent" is the record's own timestamp, not this worker's clock, so that every reading of the topic
# judges alike; brokers refuse records that are more than an hour ahead of them (message.timestamp.after.max.ms).
_HORIZON = dt.timedelta(days=1)


# What trickles in is committed about once a second: each commit makes a file in each table partition that it touches.
_GATHER_S = 1.0
# Batches on their way beside the one that is written, where there is a backlog: one is read, one is decoded.
_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one Bronze commit added.

    Attributes:
        rows: by table partition, rows of events.
        offsets: by Kafka partition, first and next offset covered.
        reasons: of poison, how often each.
        drifted: rows with a field that the contract does not know.
        unknown: these fields, in how many rows each.
        keys: the most frequent values of the column that the contract calls uneven.
        named: correlation ids of its messages, a few at the most, poison before all else.
    """

    batch_id: int
    version: int
    rows: dict[Key, int]
    events: int
    poison: int
    tombstones: int
    bytes: int
    offsets: dict[int, tuple[int, int]]
    reasons: dict[str, int]
    drifted: int
    unknown: dict[str, int]
    seconds: float
    keys: KeyCounts = field(default_factory=KeyCounts)
    named: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What was read while the batch before was written, as Bronze's rows, and the seconds that it took."""

    fetched: Fetched
    rows: pl.DataFrame
    fetch_s: float
    decode_s: float


def ingest(
    dataset: Dataset,
    *,
    bootstrap_servers: str,
    storage: Storage,
    limits: Limits,
    seconds: float,
    idle: float = 0.0,
    registry: str = "",
    shard: Shard = WHOLE,
    warn: Callable[[str], None],
) -> Iterator[Batch]:
    """Read a topic into Bronze until it is caught up or the time is over; yields after each commit.

    Args:
        idle: being caught up, wait for so many seconds for more to come.
        registry: URL of the schema registry, where the contract's wire format needs one.
        shard: the Kafka partitions to read; other runs may read others meanwhile.

    Raises:
        KafkaError: the broker or topic is not as it should be; what was yielded stays committed.
        RegistryError: nobody says what a schema is; what was yielded stays committed, the next run reads on.
        StaleCursorError: another run reads some of the same Kafka partitions; it goes on, this one ends.
    """
    from dagster_project.ingest.wire import decoder_of

    deadline = time.monotonic() + seconds
    topic = Broker(bootstrap_servers).topic(dataset.topic.name)
    table = Table.open(specs.bronze(dataset), storage=storage)
    cursor, skipped = until_first(
        partial(_begin, dataset, table, topic, lost=lost(dataset, topic, storage=storage), shard=shard)
    )
    if skipped is not None:
        yield skipped
    if not (cursor := shard.cursor(cursor)).next:
        return  # more shards than Kafka partitions
    newest = newest_events(table.cursors())
    erased = forgotten(dataset, topic, storage=storage)
    decoder = decoder_of(dataset, registry=registry)
    group = f"lakehouse-{dataset.name}"
    wrote_s = 0.0
    with (
        reading(bootstrap_servers=bootstrap_servers, topic=topic.name, offsets=cursor.next) as fetcher,
        ThreadPoolExecutor(1, thread_name_prefix="decode") as decoding,
        ThreadPoolExecutor(1, thread_name_prefix="read") as pool,
    ):
        read = partial(_read, dataset, fetcher, decoder, decoding, erased=erased)
        begun = cursor.next
        # In a copy of this context: what the thread does is of this run, too.
        coming = deque([pool.submit(copy_context().run, partial(read, limits=limits, gather=0.0))])
        active = time.monotonic()
        try:
            while True:
                done = coming.popleft().result().result()
                began = time.monotonic()
                more, larger = began < deadline, limits.behind(done.fetched.behind)
                # Is read and decoded while this batch is written; of a backlog one batch is read while another is decoded.
                while more and len(coming) < (1 if larger is limits else _AHEAD):
                    gather = min(_GATHER_S, deadline - began)
                    coming.append(pool.submit(copy_context().run, partial(read, limits=larger, gather=gather)))
                if done.fetched.next != cursor.next:
                    batch, moved = _write(
                        dataset, table, done, before=cursor, newest=newest, shard=shard, expected_s=wrote_s
                    )
                    newest |= moved
                    yield batch
                    cursor = replace(cursor, next=done.fetched.next, batch_id=batch.batch_id)
                    wrote_s, active = batch.seconds, time.monotonic()
                if not (more or coming) or (done.fetched.caught_up and time.monotonic() - active >= idle):
                    break
        finally:
            fetcher.stop()
    problem = publish_offsets(bootstrap_servers=bootstrap_servers, topic=topic.name, offsets=cursor.next, group=group)
    if problem is not None:
        warn(f"offsets of group {group} were not published: {problem}")
    read_by_all = Cursor.from_table(table.cursors()) or cursor
    try:
        # Runs of other shards write to the same ledger.
        until_first(
            partial(
                record_gaps,
                dataset,
                bronze=table,
                read=Offsets.of_bounds(read_by_all.start, read_by_all.next),
                start=cursor.start,
                end=cursor.next,
                since=begun,
                seen=fetcher.gaps.offsets(),
                batch_id=cursor.batch_id,
                storage=storage,
                bootstrap_servers=bootstrap_servers,
            )
        )
    except LakehouseError as error:
        # What was read is safe; only why some offsets hold no message is not written down yet.
        warn(f"gaps of {dataset.name} were not recorded, the next run tries again: {error}")


def _read(
    dataset: Dataset,
    fetcher: Fetcher,
    decoder: Decodes,
    decoding: Executor,
    *,
    limits: Limits,
    erased: Offsets,
    gather: float,
) -> Future[_Read]:
    """Read a batch, and have it decoded by another thread."""
    with span("ingest.fetch", dataset=dataset.name) as fetching:
        fetched = fetcher.fetch(limits, gather=gather)
        if erased:  # it does not come back into a Bronze that is made anew
            fetched = replace(fetched, messages=_without(fetched.messages, erased))
    return decoding.submit(copy_context().run, partial(_decode, dataset, fetched, decoder, fetch_s=fetching.seconds))


def _decode(dataset: Dataset, fetched: Fetched, decoder: Decodes, *, fetch_s: float) -> _Read:
    with span("ingest.decode", dataset=dataset.name, rows=len(fetched.messages)) as decoding:
        rows = place(dataset, fetched, decoder)
    return _Read(fetched=fetched, rows=rows, fetch_s=fetch_s, decode_s=decoding.seconds)


def _write(
    dataset: Dataset,
    table: Table,
    done: _Read,
    *,
    before: Cursor,
    newest: Newest,
    shard: Shard,
    expected_s: float,
) -> tuple[Batch, dict[tuple[int, str], int]]:
    """Commit what was read; returns what that added, and those of the newest event times that it moved.

    Args:
        expected_s: how long it is going to take.
    """
    began = time.monotonic()
    late, moved = measure(dataset, done.rows, newest)
    keys = count_keys(dataset, done.rows)
    rows = done.rows.select(name for name in table.spec.schema if name in done.rows.columns).with_columns(
        late,
        pl.lit(None, pl.Int64).alias("_batch_id"),
        pl.lit(dt.datetime.now(dt.UTC), TIMESTAMP).alias("_ingested_at"),
    )
    with span("ingest.commit", dataset=dataset.name) as committing:
        while True:
            tried = time.monotonic()
            after = replace(before, next=done.fetched.next, batch_id=_number(table, shard, expected_s=expected_s))
            rows = rows.with_columns(pl.lit(after.batch_id, pl.Int64).alias("_batch_id"))
            try:
                _still_ours(table, before, shard)
                version = _commit(
                    table, rows, after, more=done.fetched.unread, shard=shard, watermarks=cursors_of(moved)
                )
                break
            except OvertakenError:
                # Once more under a number that nobody should come to meanwhile, though it take twice as long.
                expected_s = 2 * (time.monotonic() - tried)
        committing.note(batch_id=after.batch_id, version=version, correlation_ids=_correlation(rows))
    batch = _batch(dataset, rows, before=before, after=after, version=version, seconds=time.monotonic() - began)
    canonical(_line(dataset, batch, rows, done, commit_s=committing.seconds))
    return replace(batch, keys=keys), moved


def _number(table: Table, shard: Shard, *, expected_s: float) -> int:
    """The id of a batch that is about to be written: beyond all that the table has.

    Batches become visible in the order of their ids, for whoever has read up to one does not look for less. Of several runs
    that write at once each names its batch after the millisecond in which it expects to commit it, so mostly none has to
    write its files again under a greater id. Clocks that differ cost such repetitions, and nothing else.
    """
    following = table.cursors().get(BATCH, -1) + 1
    if shard.whole:
        return following
    return max(following, int(time.time() * 1000)) + int(expected_s * 1000)


def _commit(
    table: Table,
    rows: pl.DataFrame,
    after: Cursor,
    *,
    more: Collection[int],
    shard: Shard,
    watermarks: Mapping[str, int],
) -> int:
    """Commit a batch; returns the version.

    The cursors that move are those of all Kafka partitions that the run reads, so runs that have one in common conflict.

    Args:
        more: Kafka partitions that hold more than that.
    """
    left = unread.cursors_of(more, of=after.next, known=table.cursors(), shared=not shard.whole)
    return table.commit(
        rows,
        cursors={**after.offsets_to_table(), **watermarks, **left},
        rising={BATCH: after.batch_id},
        metadata={"batch_id": after.batch_id, "rows": len(rows), **_told(rows)},
    )


def _told(rows: pl.DataFrame) -> dict[str, int]:
    """What a commit says of its rows, beside how many they are."""
    return {
        "poison": int((rows["_kind"] == specs.POISON).sum()),
        "drifted": len(rows) - rows[RESCUED].null_count(),
        "late": len(rows) - rows[specs.LATE].null_count(),
    }


def _correlation(rows: pl.DataFrame) -> list[str]:
    ids = rows["_correlation_id"]
    return [*ids.head(1), *ids.tail(1)]


def _line(dataset: Dataset, batch: Batch, rows: pl.DataFrame, done: _Read, *, commit_s: float) -> Line:
    return Line(
        layer="bronze",
        table=dataset.name,
        version=batch.version,
        batch_id=batch.batch_id,
        rows_in=len(done.fetched.messages),
        rows_out=len(rows),
        poison=batch.poison,
        late=len(rows) - rows[specs.LATE].null_count(),
        bytes=batch.bytes,
        fetch_s=done.fetch_s,
        decode_s=done.decode_s,
        commit_s=commit_s,
        lag=done.fetched.behind,
        correlation_ids=_correlation(rows),
    )


def _without(messages: pl.DataFrame, offsets: Offsets) -> pl.DataFrame:
    places = messages.select(offset_place()).to_series().to_numpy()
    return messages.filter(pl.Series(~offsets.has(places), dtype=pl.Boolean))


def _begin(dataset: Dataset, table: Table, topic: Topic, *, lost: Offsets, shard: Shard) -> tuple[Cursor, Batch | None]:
    """Where to read on, and the batch that says so, where that is not what the table says.

    A cursor is moved over declared losses in a commit of its own. Of several shards the first one also writes down where all
    Kafka partitions begin that the table does not know, whoever is to read them: else one whose run comes late would begin
    after what retention has deleted by then, and nobody would know.

    Raises:
        KafkaError: as of `resume`.
        StaleCursorError: another run did so in this moment.
    """
    known = Cursor.from_table(table.cursors())
    cursor = resume(known, topic, dataset=dataset.name, lost=lost)
    read = {} if known is None else known.next
    passed = {partition for partition, offset in shard.own(read).items() if cursor.next[partition] != offset}
    unknown = set[int]() if shard.whole else cursor.next.keys() - read.keys()
    if not passed and not unknown:
        return cursor, None
    moved = cursor.next.keys() if shard.whole else passed | unknown
    after = replace(
        cursor,
        start={partition: cursor.start[partition] for partition in moved},
        next={partition: cursor.next[partition] for partition in moved},
        batch_id=_number(table, shard, expected_s=0.0),
    )
    began = time.monotonic()
    rows = pl.DataFrame(schema=dict(specs.bronze(dataset).schema))
    more = {partition for partition, offset in after.next.items() if offset < topic.end[partition]}
    version = _commit(table, rows, after, more=more, shard=shard, watermarks={})
    before = replace(cursor, next={**cursor.next, **read})
    batch = _batch(dataset, rows, before=before, after=after, version=version, seconds=time.monotonic() - began)
    return replace(cursor, batch_id=after.batch_id), batch


def _still_ours(table: Table, cursor: Cursor, shard: Shard) -> None:
    """Refuse to write unless the table's cursor is the one that this batch was read from, in all that is this run's to read.

    The commit is then made against the version looked at here, and Delta refuses it if these cursors moved since.
    """
    found = Cursor.from_table(table.cursors())
    batch_id, same = (
        (-1, cursor.batch_id < 0) if found is None else (found.batch_id, _agree(shard.cursor(found), cursor))
    )
    if not same:
        raise StaleCursorError(
            f"bronze/{table.spec.name} is at batch {batch_id}; this run read on from batch {cursor.batch_id}",
            expected="to be the only run that reads these Kafka partitions; nothing was written",
            remedy="nothing: the other run goes on, and the next one starts from the committed state",
        )


def _agree(found: Cursor, cursor: Cursor) -> bool:
    """Whether a cursor is what was found; of Kafka partitions that nobody has read yet the table has none."""
    if (found.cluster_id, found.topic_id) != (cursor.cluster_id, cursor.topic_id):
        return False
    return found.next == {partition: cursor.next.get(partition) for partition in found.next}


def place(dataset: Dataset, fetched: Fetched, decoder: Decodes) -> pl.DataFrame:
    """Decode messages and give each its kind and table partition: Bronze's columns but the batch's own two."""
    messages = fetched.messages.drop(ERROR, strict=False)
    payloads = messages["_payload"]
    empty = payloads.is_null()
    if empty.any():
        decoded = pl.concat(
            [decoder.decode(payloads.filter(~empty)), _deletes(dataset, fetched.messages.filter(empty))]
        )
        # Back into the order of arrival: decoded rows first, deletes after them.
        order = pl.concat([(~empty).arg_true(), empty.arg_true()])
        decoded = decoded.with_columns(order.alias("_order")).sort("_order").drop("_order")
    else:
        decoded = decoder.decode(payloads)
    rows = messages.hstack(decoded).with_columns(
        pl.col(dataset.partition_time).dt.date().alias(DATE_COLUMN), pl.col(dataset.region).alias(REGION_COLUMN)
    )
    unroutable = rows.select(
        pl.when(pl.col("_payload").is_not_null(), pl.col(ERROR).is_null()).then(_unroutable(dataset))
    ).to_series()
    if unroutable.null_count() < len(rows):
        # Poison has no values and no place: what little could be read of it is not to be trusted.
        typed = [name for name in specs.bronze(dataset).schema if not name.startswith("_")] + [RESCUED]
        rows = rows.with_columns(
            pl.coalesce(ERROR, unroutable).alias(ERROR), pl.when(unroutable.is_null()).then(pl.col(typed))
        )
    kind = (
        pl.when(pl.col(ERROR).is_not_null())
        .then(pl.lit(specs.POISON))
        .when(pl.col("_payload").is_null())
        .then(pl.lit(specs.TOMBSTONE))
        .otherwise(pl.lit(specs.EVENT))
    )
    return rows.with_columns(kind.alias("_kind"))


def _unroutable(dataset: Dataset) -> pl.Expr:
    """Why an event has no table partition, or null."""
    last = (pl.col("_kafka_timestamp") + _HORIZON).dt.date()
    date = pl.col(DATE_COLUMN)
    needed = dict.fromkeys((*dataset.merge_key, dataset.event_time, dataset.partition_time, dataset.region))
    reasons = [pl.when(pl.col(name).is_null()).then(pl.lit(f"{name}.required: missing")) for name in needed]
    regions = ", ".join(dataset.regions)
    return pl.coalesce(
        *reasons,
        pl.when(~pl.col(REGION_COLUMN).is_in(dataset.regions)).then(
            pl.lit(f"{dataset.region}.enum: not one of {regions}")
        ),
        pl.when(~date.is_between(dataset.start_date, last)).then(
            pl.lit(f"{dataset.partition_time}.horizon: outside {dataset.start_date} to the day after it was sent")
        ),
    )


def _deletes(dataset: Dataset, messages: pl.DataFrame) -> pl.DataFrame:
    """Messages without a payload: deletes of the key that they carry, where the contract knows deletes."""
    schema = {**polars_schema(dataset.columns), RESCUED: pl.String(), ERROR: pl.String()}
    rows: list[dict[str, object]] = []
    refused = messages[ERROR] if ERROR in messages.columns else pl.repeat(None, len(messages), eager=True)
    for key, reason in zip(messages["_key"], refused, strict=True):
        try:
            if reason is not None:
                raise exact.Rejected(reason)
            if dataset.write_mode == "append":
                raise exact.Rejected("payload.null: nothing can be deleted from an append-only dataset")
            rows.append(exact.decode_key(key, [dataset.column(name) for name in dataset.merge_key]))
        except exact.Rejected as rejected:
            rows.append({ERROR: str(rejected)})
    return pl.DataFrame(rows, schema=schema)


def _batch(
    dataset: Dataset, rows: pl.DataFrame, *, before: Cursor, after: Cursor, version: int, seconds: float
) -> Batch:
    counts = rows.select(*specs.KEYS, "_kind").group_by(pl.all()).len()
    kinds = dict(counts.group_by("_kind").agg(pl.sum("len")).iter_rows())
    events = counts.filter(pl.col("_kind") == specs.EVENT)
    poison = rows.select("_kind", ERROR, "_correlation_id").filter(pl.col("_kind") == specs.POISON)
    reasons = poison.select(pl.col(ERROR).str.split(":").list.first())
    rescued = rows[RESCUED].drop_nulls()
    return Batch(
        batch_id=after.batch_id,
        version=version,
        rows={Key(date, region): count for date, region, _, count in events.iter_rows()},
        events=kinds.get(specs.EVENT, 0),
        poison=kinds.get(specs.POISON, 0),
        tombstones=kinds.get(specs.TOMBSTONE, 0),
        bytes=int(rows["_payload"].bin.size().sum()),
        offsets={partition: (before.next[partition], offset) for partition, offset in after.next.items()},
        reasons=dict(reasons.to_series().value_counts(sort=True).iter_rows()),
        drifted=len(rescued),
        unknown=unknown_fields(rescued, dataset.columns),
        seconds=seconds,
        named=named(poison, rows),
    )
