"""Each kind of damage to a real, drained lake is found and named; without damage there is nothing to tell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import confluent_kafka as ck
import polars as pl
import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.outbox.letters import read_letters
from dagster_project.outbox.publish import publish
from dagster_project.sources.orders import Orders
from dagster_project.topics.broker import Broker
from dagster_project.topics.derived import dead_letters
from tests.integration.accounting.kafka import Producer, delete_before
from tests.integration.lake import Lake

EVENTS = 3000


@pytest.fixture(scope="module")
def drained(make_lake: Callable[[str], Lake]) -> Lake:
    """Orders with duplicates, poison, gate failures, and aborted transactions among them; all of it published."""
    lake = make_lake("orders")
    source = Orders(dataset=lake.dataset, events=EVENTS, seed=9, duplicates=0.05, late=0.03, poison=0.02)
    foreign = Producer(lake.servers, lake.dataset.topic.name, transactional=True)
    lake.produce(source, limit=EVENTS // 2)
    foreign.transaction([(0, b"k", b"never to be seen")] * 10, commit=False)
    lake.ingest()
    lake.refine()
    lake.produce(source)
    foreign.transaction([(1, b"k", b"{")] * 3, commit=True)
    lake.ingest()
    lake.refine()
    lake.compute()
    publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers)
    return lake


@pytest.fixture
def copy(drained: Lake, tmp_path: Path) -> Lake:
    """The lake's tables in a folder of the test's own; the topics are shared."""
    shutil.copytree(drained.storage.uri, tmp_path / "lake")
    return replace(drained, storage=Storage.at(str(tmp_path / "lake")), home=tmp_path)


def verify(lake: Lake, *, topic: bool = True) -> Account:
    return account(
        lake.dataset,
        catalog=lake.catalog,
        storage=lake.storage,
        topic=(lambda: Broker(lake.servers).topic(lake.dataset.topic.name)) if topic else None,
        bootstrap_servers=lake.servers,
        payloads=True,
        deep=True,
    )


def spec_of(lake: Lake, layer: str) -> TableSpec:
    return specs.gold(lake.catalog.mart("revenue_daily")) if layer == "gold" else getattr(specs, layer)(lake.dataset)


def files(lake: Lake, table: Table) -> list[Path]:
    return [Path(table.uri) / unquote(path) for path in table.files()["path"]]


def rewrite(table: Table, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Replace all rows by changed ones, in a commit of the table's own."""
    table.commit(change(table.rows().collect()), remove=table.files(), cursors={})


def place_of(row: pl.DataFrame) -> str:
    partition, offset = row.select("_kafka_partition", "_kafka_offset").row(0)
    return f"{partition}/{offset}"


def test_an_undamaged_lake_has_no_problems(drained: Lake) -> None:
    found = verify(drained)
    assert found.problems == ()
    assert found.accounted
    assert min(found.silver_rows, found.superseded, found.quarantined, found.control, found.aborted) > 0
    assert found.aborted == 10
    assert (found.unproven_gaps, found.unaccounted, found.pending, found.letters_pending) == (0, 0, 0, 0)
    assert found.letters == drained.bronze().filter(pl.col("_kind") == "poison").height > 3
    tiles = found.partitions
    assert sum(tile.next - tile.start for tile in tiles) == found.offsets
    names = ("silver_rows", "superseded", "quarantined", "tombstones", "control", "aborted", "compacted")
    more = ("unproven_gaps", "lost", "pending", "unaccounted")
    for tile in tiles:
        assert sum(getattr(tile, name) for name in (*names, *more)) == tile.next - tile.start
    for name in (*names, *more):
        assert sum(getattr(tile, name) for tile in tiles) == getattr(found, name)
    # What the broker has deleted since, the ledger still knows.
    alone = verify(drained, topic=False)
    assert alone.accounted
    assert (alone.control, alone.aborted, alone.unproven_gaps) == (found.control, found.aborted, 0)


@pytest.mark.parametrize("layer", ["bronze", "silver", "quarantine", "gold", "ledger"])
def test_a_missing_file_is_named_with_its_version(copy: Lake, layer: str) -> None:
    table = copy.table(spec_of(copy, layer))
    path = table.files()["path"][0]
    (Path(table.uri) / unquote(path)).unlink()
    found = verify(copy)
    assert not found.accounted
    versions = [
        version
        for version in range(table.version + 1)
        if f'"path":"{path}"' in (Path(table.uri) / "_delta_log" / f"{version:020d}.json").read_text()
    ]
    assert f"{layer}/{table.spec.name}: file {path} of version {versions[-1]} is missing" in found.problems


def test_a_file_that_was_cut_short_is_named(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "silver"))
    path = files(copy, table)[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    found = verify(copy)
    assert any(f"has {len(content) - 1} bytes, not {len(content)}" in problem for problem in found.problems)


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_a_file_of_the_right_size_that_cannot_be_read_is_named(copy: Lake, layer: str) -> None:
    table = copy.table(spec_of(copy, layer))
    path, size = table.files().select("path", "size_bytes").row(0)
    (Path(table.uri) / unquote(path)).write_bytes(bytes(size))
    found = verify(copy)
    assert not found.accounted
    assert any(
        text.startswith(f"{layer}/{table.spec.name}: file {path} of ") and "cannot be read: " in text
        for text in found.problems
    ), found.problems


@pytest.mark.parametrize(("layer", "version"), [("bronze", 1), ("silver", 1), ("gold", 0)])
def test_a_missing_commit_is_named(copy: Lake, layer: str, version: int) -> None:
    table = copy.table(spec_of(copy, layer))
    (Path(table.uri) / "_delta_log" / f"{version:020d}.json").unlink()
    found = verify(copy)
    assert not found.accounted
    assert f"{layer}/{table.spec.name}: commit {version} is missing from its log" in found.problems


def test_a_log_that_lost_its_newest_commit_is_behind_those_that_read_it(copy: Lake) -> None:
    for layer, problem in (
        ("silver", "was computed from version"),
        ("bronze", "was computed from batch"),
    ):
        table = copy.table(spec_of(copy, layer))
        (Path(table.uri) / "_delta_log" / f"{table.version:020d}.json").unlink()
        found = verify(copy)
        assert not found.accounted
        assert any(problem in text for text in found.problems), found.problems


def test_a_batch_that_is_there_twice(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "bronze"))
    rows = table.rows().filter(pl.col("_batch_id") == 0).collect()
    table.commit(rows, cursors={})
    (problem,) = verify(copy).problems
    assert problem.startswith(f"{len(rows)} offsets are in more than one place: ")


def test_an_altered_value_of_silver(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "silver"))
    victim = table.rows().collect().row(7, named=True)["order_id"]
    row = table.rows().filter(pl.col("order_id") == victim).collect()
    change = pl.when(pl.col("order_id") == victim).then(pl.lit("C-other")).otherwise("customer_id").alias("customer_id")
    rewrite(table, lambda rows: rows.with_columns(change))
    assert (
        f"1 offsets are in silver with other values than their payloads have: {place_of(row)}" in verify(copy).problems
    )


def test_an_altered_payload_of_bronze(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "bronze"))
    row = table.rows().filter(pl.col("_kind") == "event").collect().slice(11, 1)
    payload = json.loads(row["_payload"][0])
    payload["customer_id"] = "C-other"
    one = (pl.col("_kafka_partition") == row["_kafka_partition"][0]) & (
        pl.col("_kafka_offset") == row["_kafka_offset"][0]
    )
    other = pl.when(one).then(pl.lit(json.dumps(payload).encode())).otherwise("_payload").alias("_payload")
    rewrite(table, lambda rows: rows.with_columns(other))
    problems = verify(copy).problems
    place = place_of(row)
    assert f"1 offsets are in Bronze with another key or payload than on the broker: {place}" in problems
    assert f"1 offsets are in Bronze with other values than their payloads have: {place}" in problems


def test_an_altered_value_of_quarantine(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "quarantine"))
    row = table.rows().collect().head(1)
    first = pl.int_range(pl.len()) == 0
    rewrite(table, lambda rows: rows.with_columns(_payload=pl.when(first).then(pl.lit(b"{}")).otherwise("_payload")))
    wanted = f"1 offsets are in quarantine with another key or payload than in Bronze: {place_of(row)}"
    assert verify(copy).problems == (wanted,)


def test_an_altered_value_of_gold(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "gold"))
    row = table.rows().collect().row(0, named=True)
    first = pl.int_range(pl.len()) == 0
    rewrite(table, lambda rows: rows.with_columns(units=pl.col("units") + pl.when(first).then(1).otherwise(0)))
    key = f"{row['event_date']}/{row['region']}/{row['currency']}"
    wanted = f"gold/revenue_daily: 1 rows are not what its SQL makes of its inputs: {key} (units)"
    assert verify(copy).problems == (wanted,)


def test_a_row_that_is_missing_from_silver(copy: Lake) -> None:
    table = copy.table(spec_of(copy, "silver"))
    row = table.rows().collect().slice(5, 1)
    rewrite(table, lambda rows: rows.join(row, on=["_kafka_partition", "_kafka_offset"], how="anti"))
    found = verify(copy)
    assert found.unaccounted > 0
    named = next(text for text in found.problems if "neither in Silver, superseded, nor quarantined" in text)
    places = {place.strip() for place in named.rpartition(": ")[2].split(",")}
    assert place_of(row) in places


def test_offsets_that_the_cursor_skipped(copy: Lake) -> None:
    topic = copy.dataset.topic.name
    before = Broker(copy.servers).topic(topic).end[0]
    Producer(copy.servers, topic).send([(0, b"k", b"{")] * 4)
    table = copy.table(spec_of(copy, "bronze"))
    cursor = Cursor.from_table(table.cursors())
    assert cursor is not None
    after = replace(cursor, next={**cursor.next, 0: before + 4}, batch_id=cursor.batch_id + 1)
    table.commit(pl.DataFrame(schema=dict(table.spec.schema)), cursors=after.to_table())
    found = verify(copy)
    assert found.problems == (f"4 offsets are on the broker, but not in Bronze: 0/{before}-{before + 3}",)
    assert found.unaccounted == 4


def test_a_single_letter_that_is_lost_and_then_replaced_by_another(drained: Lake, copy: Lake) -> None:
    queue = dead_letters(copy.dataset).name
    letters = read_letters(copy.dataset, bootstrap_servers=copy.servers).sort("dlq_offset")
    row = letters.filter(pl.col("dlq_partition") == letters["dlq_partition"][0]).head(1)
    partition, offset = row.select("dlq_partition", "dlq_offset").row(0)
    message = letter_at(copy.servers, queue, partition, offset)
    delete_before(copy.servers, queue, {partition: offset + 1})
    found = verify(copy)
    assert found.problems == (f"{queue} has no letter for 1 messages: {place_of(row)}",)
    assert not found.accounted
    assert found.letters == len(letters) - 1
    producer = ck.Producer({"bootstrap.servers": copy.servers})
    producer.produce(queue, key=message.key(), value=b"other", headers=message.headers(), partition=partition)
    producer.flush(30)
    assert verify(copy).problems == (
        f"{queue} has letters with other bytes than Bronze has at 1 messages: {place_of(row)}",
    )


def letter_at(servers: str, queue: str, partition: int, offset: int) -> ck.Message:
    consumer = ck.Consumer({"bootstrap.servers": servers, "group.id": "test"})
    consumer.assign([ck.TopicPartition(queue, partition, offset)])
    letter = consumer.poll(30)
    consumer.close()
    assert letter is not None
    assert letter.error() is None
    return letter


def test_a_letter_that_is_there_twice_or_foreign(drained: Lake, copy: Lake) -> None:
    queue = dead_letters(copy.dataset).name
    consumer = ck.Consumer({"bootstrap.servers": copy.servers, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.assign([ck.TopicPartition(queue, p, 0) for p in Broker(copy.servers).topic(queue).end])
    letter = consumer.poll(30)
    consumer.close()
    assert letter is not None
    headers = letter.headers()
    assert headers is not None
    values = {name: value for name, value in headers if isinstance(value, bytes)}
    place = f"{values['lakehouse.dlq.partition'].decode()}/{values['lakehouse.dlq.offset'].decode()}"
    producer = ck.Producer({"bootstrap.servers": copy.servers})
    producer.produce(queue, key=letter.key(), value=letter.value(), headers=headers)
    foreign = [(name, b"999999" if name == "lakehouse.dlq.offset" else value) for name, value in headers]
    producer.produce(queue, key=letter.key(), value=letter.value(), headers=foreign)
    producer.flush(30)
    problems = verify(copy).problems
    assert f"{queue} has more than one letter for 1 messages: {place}" in problems
    partition = values["lakehouse.dlq.partition"].decode()
    assert f"{queue} has letters for what is no poison in Bronze: 1 messages: {partition}/999999" in problems


def test_letters_that_are_lost(drained: Lake, copy: Lake) -> None:
    queue = dead_letters(copy.dataset).name
    ends = dict(Broker(copy.servers).topic(queue).end)
    delete_before(copy.servers, queue, ends)
    problems = verify(copy).problems
    poison = copy.bronze().filter(pl.col("_kind") == "poison").height
    assert any(text.startswith(f"{queue} has no letter for {poison} messages: ") for text in problems), problems
