"""Each message that could not be decoded is one letter of the dead-letter queue, whatever interrupts the publisher."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace

import confluent_kafka as ck
import polars as pl
import pytest
from kafka import KafkaProducer

from dagster_project.errors import KafkaError
from dagster_project.lake.specs import POISON
from dagster_project.outbox import publish as publishing
from dagster_project.outbox import reading
from dagster_project.outbox.letters import read_letters
from dagster_project.outbox.publish import Published, publish
from dagster_project.sources import oracle
from dagster_project.sources.orders import Orders
from dagster_project.topics.derived import OUTBOX
from tests.integration.lake import PATIENCE, Lake, places, unique
from tests.integration.outbox.topic import Place, Record, consume, killed, send

# Publishes in transactions of one batch each, and kills itself at the third one, in or after it.
KILLED = """
import os, signal, sys
from dataclasses import replace
from dagster_project.contract.loader import load_catalog
from dagster_project.lake.storage import Storage
from dagster_project.outbox import publish
from dagster_project.settings import REPOSITORY

topic, servers, lake, name = sys.argv[1:]
dataset = load_catalog(REPOSITORY / "contracts").dataset("orders")
dataset = replace(dataset, topic=replace(dataset.topic, name=topic))
real, calls = getattr(publish, name), 0

def then_die(*arguments):
    global calls
    real(*arguments)
    calls += 1
    if calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(publish, name, then_die)
publish._LETTERS = 1
publish.publish(dataset, storage=Storage.at(lake), bootstrap_servers=servers)
"""


def publish_all(lake: Lake) -> Published:
    return publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers)


def letters_of(lake: Lake) -> dict[Place, Record]:
    """Records of the queue by the place of the message that failed; fails on a doubled one."""
    found: dict[Place, Record] = {}
    for record in consume(f"{lake.dataset.topic.name}.dlq", lake.servers).values():
        own = dict(record.headers[-7:])
        source = int(own["lakehouse.dlq.partition"] or b""), int(own["lakehouse.dlq.offset"] or b"")
        assert source not in found
        found[source] = record
    return found


def poison(lake: Lake, count: int, *, batches: int = 1) -> dict[Place, Record]:
    """Send messages that cannot be decoded and bring them to Bronze."""
    sent: dict[Place, Record] = {}
    for batch in range(batches):
        records = [
            Record(f"{batch}-{number}".encode(), b"{", (("correlation_id", b"c%d" % number),))
            for number in range(count)
        ]
        sent |= send(lake.dataset.topic.name, lake.servers, records)
        lake.ingest()
    return sent


@pytest.fixture
def lake(make_lake: Callable[[str], Lake]) -> Lake:
    return make_lake("orders")


def test_each_poison_message_is_one_letter_as_it_was_sent(lake: Lake) -> None:
    source = Orders(dataset=lake.dataset, events=3_000, seed=5, poison=0.05)
    published = lake.produce(source)
    sent = {
        record.place: Record(event.key, event.value, event.headers)
        for event, record in zip(source, oracle.read(published.oracle), strict=True)
        if event.kind == "decode"
    }
    assert len(sent) > 50
    odd = [
        Record(None, None),  # a delete, of nothing
        Record(b"\xff", None, (("correlation_id", b"c-1"), ("x", None), ("x", b"\xff"), ("x", b""))),
        Record(b"\xff\x00", b"\xff\x00", (("lakehouse.dlq.topic", b"another"), ("lakehouse.dlq.topic_id", b"another"))),
        Record(b"", b""),
        # With the letter's headers it is larger than what the source takes.
        Record(b"large", random.Random(1).randbytes(1_048_300)),
    ]
    sent |= send(lake.dataset.topic.name, lake.servers, odd)
    lake.ingest()

    done = publish_all(lake)

    found = letters_of(lake)
    bronze = {
        (row["_kafka_partition"], row["_kafka_offset"]): row
        for row in lake.bronze().filter(pl.col("_kind") == POISON).iter_rows(named=True)
    }
    assert found.keys() == sent.keys()
    for place, record in sent.items():
        letter, row = found[place], bronze[place]
        correlation = dict(record.headers).get("correlation_id")
        assert (letter.key, letter.value) == (record.key, record.value)
        assert letter.headers[:-7] == tuple(record.headers)
        assert [name.removeprefix("lakehouse.dlq.") for name, _ in letter.headers[-7:]] == [
            "topic", "partition", "offset", "error", "correlation_id", "batch", "topic_id",
        ]  # fmt: skip
        own = {name.removeprefix("lakehouse.dlq."): (value or b"").decode() for name, value in letter.headers[-7:]}
        assert own["topic"] == lake.dataset.topic.name
        assert own["error"] == row["_error"]
        assert own["error"]
        assert int(own["batch"]) == row["_batch_id"]
        where = f"{lake.dataset.topic.name}/{place[0]}/{place[1]}"
        assert own["correlation_id"] == (where if correlation is None else correlation.decode())
    assert (done.letters, sum(done.reasons.values())) == (len(sent), len(sent))
    assert done.cursor == lake.bronze()["_batch_id"].max()

    frame = read_letters(lake.dataset, bootstrap_servers=lake.servers)
    assert places(frame) == set(sent)
    assert len(frame) == len(sent)
    for row in frame.iter_rows(named=True):
        record = sent[row["_kafka_partition"], row["_kafka_offset"]]
        headers = tuple((header["key"], header["value"]) for header in row["_headers"])
        assert (row["_key"], row["_payload"], headers) == (record.key, record.value, tuple(record.headers))
        assert (row["attempt"], row["replayed_at"]) == (0, None)
        assert row["origin"] == f"{lake.dataset.topic.name}/{row['_kafka_partition']}/{row['_kafka_offset']}"


def test_publishing_twice_adds_nothing_and_later_poison_only_itself(lake: Lake) -> None:
    first = poison(lake, 7)
    assert publish_all(lake).letters == 7
    written = consume(f"{lake.dataset.topic.name}.dlq", lake.servers)
    assert publish_all(lake).letters == 0
    assert consume(f"{lake.dataset.topic.name}.dlq", lake.servers) == written
    second = poison(lake, 3)
    assert publish_all(lake).letters == 3
    assert letters_of(lake).keys() == first.keys() | second.keys()


@pytest.mark.parametrize(("name", "there"), [("send_letters", 2), ("commit_letters", 3)])
def test_a_publisher_that_was_killed_is_finished_by_the_next_one(lake: Lake, name: str, there: int) -> None:
    sent = poison(lake, 5, batches=5)
    killed(KILLED, lake.dataset.topic.name, lake.servers, lake.storage.uri, name)

    done = publish_all(lake)

    assert done.letters == 5 * (5 - there)
    assert letters_of(lake).keys() == sent.keys()
    assert publish_all(lake).letters == 0


@pytest.mark.parametrize("name", ["send_letters", "commit_letters"])
def test_of_two_publishers_the_older_one_is_shut_out(lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sent = poison(lake, 5)
    real = getattr(publishing, name)

    def interrupted(*arguments: object) -> None:
        monkeypatch.setattr(publishing, name, real)
        assert publish_all(lake).letters == 5
        real(*arguments)

    monkeypatch.setattr(publishing, name, interrupted)
    with pytest.raises(KafkaError, match="took over"):
        publish_all(lake)

    assert letters_of(lake).keys() == sent.keys()
    assert publish_all(lake).letters == 0


def test_publishers_at_the_same_time_make_no_doubles(lake: Lake) -> None:
    sent = poison(lake, 5, batches=3)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            publish_all(lake)
        except KafkaError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("took over" in str(error) for error in errors)
    publish_all(lake)
    assert letters_of(lake).keys() == sent.keys()


def test_an_open_transaction_of_another_dataset_hides_no_cursor(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = poison(lake, 5)
    other = ck.Producer({"bootstrap.servers": lake.servers, "transactional.id": unique("other")})
    other.init_transactions()
    real = publishing.send_letters

    def after_another(*arguments: object) -> None:
        other.begin_transaction()
        other.produce(OUTBOX, key="another.dlq/id", value=b'{"batch": 1}')
        other.flush()
        real(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(publishing, "send_letters", after_another)
    assert publish_all(lake).letters == 5
    # Until the other one ends, a read-committed consumer sees no cursor of this dataset.
    assert not any(
        lake.dataset.topic.name.encode() in (found.key or b"") for found in consume(OUTBOX, lake.servers).values()
    )
    monkeypatch.setattr(publishing, "send_letters", real)
    end = threading.Timer(2.0, other.abort_transaction)
    end.start()
    assert publish_all(lake).letters == 0
    end.join()
    assert letters_of(lake).keys() == sent.keys()


def test_a_transaction_that_stays_open_is_told_of(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(lake, 1)
    other = ck.Producer({"bootstrap.servers": lake.servers, "transactional.id": unique("other")})
    other.init_transactions()
    other.begin_transaction()
    other.produce(OUTBOX, key="another.dlq/id", value=b'{"batch": 1}')
    other.flush()
    with monkeypatch.context() as hasty:
        hasty.setattr(reading, "_SETTLING_SECONDS", 1.0)
        with pytest.raises(KafkaError, match="open transaction"):
            publish_all(lake)
    other.abort_transaction()
    assert publish_all(lake).letters == 1


def test_records_of_others_hide_no_letter(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    sent = poison(lake, 50)  # the interpreter has seen enough of them to take a shorter way
    publish_all(lake)
    producer = KafkaProducer(bootstrap_servers=lake.servers)
    for name in ("text", _NoText()):
        producer.send(f"{lake.dataset.topic.name}.dlq", b"{}", headers=[(name, b"")], partition=0).get(PATIENCE)
    producer.close()

    assert places(read_letters(lake.dataset, bootstrap_servers=lake.servers, settled=True)) == set(sent)
    assert "has 2 records that are no letters" in caplog.text


class _NoText(str):
    """The name of a header whose bytes are no text."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff"


def test_missing_topics_are_named_with_what_makes_them(lake: Lake) -> None:
    without = replace(lake.dataset, topic=replace(lake.dataset.topic, name=unique("nowhere")))
    with pytest.raises(KafkaError) as caught:
        publish(without, storage=lake.storage, bootstrap_servers=lake.servers)
    assert f"no topic '{without.topic.name}.dlq'" in caught.value.found
    assert "lakehouse topics apply" in caught.value.remedy


def test_a_bronze_table_that_was_made_anew_is_refused(lake: Lake) -> None:
    poison(lake, 1, batches=2)
    publish_all(lake)
    anew = replace(lake, storage=replace(lake.storage, uri=f"{lake.storage.uri}-anew"))
    anew.ingest()
    with pytest.raises(KafkaError, match="is at batch 0; its poison was published up to batch 1"):
        publish_all(anew)
