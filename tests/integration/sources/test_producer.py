"""Exactly once, whatever interrupts the producer: judged by what a read-committed consumer sees."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from dagster_project.cli.produce import app
from dagster_project.contract.model import Dataset
from dagster_project.errors import ConfigurationError, KafkaError, ServiceError
from dagster_project.services.lock import exclusive
from dagster_project.settings import REPOSITORY
from dagster_project.sources import oracle
from dagster_project.sources.delivery_log import Delivery, DeliveryLog
from dagster_project.sources.events import Event
from dagster_project.sources.orders import Orders
from dagster_project.sources.producer import Published, publish
from dagster_project.sources.transactions import TransactionalProducer
from dagster_project.topics.client import TIMEOUT_S

PATIENCE = 30.0
EVENTS = 3_000
# Publishes the orders in many small transactions; the arguments say at which transaction and place it is killed.
PUBLISH = """
import os, signal, sys
from pathlib import Path
from dagster_project.contract.loader import load_catalog
from dagster_project.settings import REPOSITORY
from dagster_project.sources import producer
from dagster_project.sources.delivery_log import DeliveryLog
from dagster_project.sources.orders import Orders

topic, bootstrap, home, place, transaction, rate = sys.argv[1:]
calls = 0

def die(when):
    global calls
    calls += when == place
    if when == place and calls == int(transaction):
        os.kill(os.getpid(), signal.SIGKILL)

class Log(DeliveryLog):
    def append(self, deliveries):
        die("before the log")
        super().append(deliveries)
        die("before the commit")

producer.DeliveryLog = Log
producer.TRANSACTION_EVENTS = 250
dataset = next(one for one in load_catalog(REPOSITORY / "contracts").datasets if one.name == "orders")
source = Orders(dataset=dataset, events=3_000, seed=11, poison=0.02)
producer.publish(
    source, topic=topic, bootstrap=bootstrap, progress_group=source.progress_group, home=Path(home),
    rate=float(rate) or None, report=lambda there: die("after the commit"),
)
"""

Seen = dict[tuple[int, int], ck.Message]


@pytest.fixture(scope="module")
def orders(datasets: dict[str, Dataset]) -> Orders:
    return Orders(dataset=datasets["orders"], events=EVENTS, seed=11, poison=0.02)


def consume(topic: str, bootstrap: str, *, isolation: str = "read_committed") -> Seen:
    """All records of a topic by Kafka partition and offset."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "test", "isolation.level": isolation}
    consumer = ck.Consumer(settings | {"enable.partition.eof": True, "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
    consumer.assign([ck.TopicPartition(topic, partition, ck.OFFSET_BEGINNING) for partition in partitions])
    seen: Seen = {}
    ended = 0
    while ended < len(partitions):
        message = consumer.poll(PATIENCE)
        assert message is not None
        error = message.error()
        if error is None:
            seen[message.partition() or 0, message.offset() or 0] = message
        else:
            assert error.code() == ck.KafkaError._PARTITION_EOF
            ended += 1
    consumer.close()
    return seen


def send(source: Iterable[Event], topic: str, bootstrap: str, home: Path, **options: int) -> Published:
    group = source.progress_group if isinstance(source, Orders) else "test-progress"
    return publish(source, topic=topic, bootstrap=bootstrap, progress_group=group, home=home, **options)  # pyright: ignore[reportArgumentType]


def start(
    topic: str, bootstrap: str, home: Path, *, place: str = "", transaction: int = 0, rate: float = 0
) -> subprocess.Popen[bytes]:
    arguments = [topic, bootstrap, str(home), place, str(transaction), str(rate)]
    return subprocess.Popen([sys.executable, "-c", PUBLISH, *arguments], stderr=subprocess.PIPE, cwd=REPOSITORY)


def assert_exactly_once(source: Orders, log: Path, seen: Seen) -> None:
    """Every event of the stream is in the topic once, and the log tells where."""
    records = list(oracle.read(log))
    assert [record.index for record in records] == list(range(len(source)))
    assert {record.place for record in records} == set(seen)
    for event, record in zip(source, records, strict=True):
        message = seen[record.place]
        assert (message.key(), message.value(), tuple(message.headers() or ())) == (
            event.key,
            event.value,
            event.headers,
        )
        assert (record.kind, record.late, record.event_time) == (event.kind, event.late, event.event_time)
        if record.value is not None:
            assert record.value == json.loads(event.value, parse_float=oracle.Decimal)


def test_twice_is_once(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    first = send(orders, topic, bootstrap, home)
    assert (first.produced, first.skipped) == (EVENTS, 0)
    seen = consume(topic, bootstrap)
    assert_exactly_once(orders, first.oracle, seen)

    second = send(orders, topic, bootstrap, home)
    assert (second.produced, second.skipped, second.oracle) == (0, EVENTS, first.oracle)
    assert consume(topic, bootstrap).keys() == seen.keys()

    keyed = {(message.key(), message.partition()) for message in seen.values() if message.key() is not None}
    assert len(keyed) == len({key for key, _ in keyed})
    assert oracle.expected(oracle.read(first.oracle)).counts.total() == EVENTS


def test_a_limit_is_a_stop_on_the_way(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    there: list[int] = []
    assert send(orders, topic, bootstrap, home, limit=700).produced == 700
    assert send(orders, topic, bootstrap, home, limit=500).produced == 0
    done = publish(
        orders,
        topic=topic,
        bootstrap=bootstrap,
        progress_group=orders.progress_group,
        home=home,
        report=there.append,
    )
    assert (done.produced, done.skipped, there) == (EVENTS - 700, 700, [700, EVENTS])
    assert_exactly_once(orders, done.oracle, consume(topic, bootstrap))


def test_killed_at_every_place_of_a_transaction(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    for place in ("before the log", "before the commit", "after the commit"):
        with start(topic, bootstrap, home, place=place, transaction=3) as process:
            assert process.wait(PATIENCE) == -signal.SIGKILL
    # Each ended at its third transaction: two, two and (its third report tells of the second) two were committed.
    done = send(orders, topic, bootstrap, home)
    assert done.skipped == 6 * 250
    assert_exactly_once(orders, done.oracle, consume(topic, bootstrap))


def test_ctrl_c_in_the_middle(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    rate = 250
    with start(topic, bootstrap, home, rate=rate) as process:
        deadline = time.monotonic() + PATIENCE
        # A transaction of a second is logged before it is committed: when the second is logged the first is in the topic.
        while not any(path.read_bytes().count(b"\n") > rate for path in home.glob("oracle/*/*/*.ndjson")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith(b"KeyboardInterrupt")

    done = send(orders, topic, bootstrap, home)
    assert 0 < done.skipped < EVENTS
    assert_exactly_once(orders, done.oracle, consume(topic, bootstrap))


class InterruptedLog(DeliveryLog):
    """Ctrl-C at the last moment before the commit."""

    def append(self, deliveries: Iterable[Delivery]) -> None:
        super().append(deliveries)
        raise KeyboardInterrupt


def test_an_aborted_transaction_leaves_nothing_to_see(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    events = list(orders)[:100]
    producer = TransactionalProducer(topic=topic, bootstrap=bootstrap, progress_group="test-progress")
    log = InterruptedLog(home / "log.ndjson")
    with pytest.raises(KeyboardInterrupt):
        producer.send(events, log=log)
    assert log.path.read_bytes() == b""
    assert consume(topic, bootstrap) == {}
    assert len(consume(topic, bootstrap, isolation="read_uncommitted")) == 100

    producer.send(events, log=DeliveryLog(log.path))
    producer.settle()
    seen = consume(topic, bootstrap)
    assert {record.place for record in oracle.read(log.path)} == set(seen)
    assert len(seen) == 100


def test_an_empty_value_is_no_tombstone(topic: str, bootstrap: str, home: Path) -> None:
    send([Event(key=None, value=b"", headers=(), kind="decode", trouble="empty")], topic, bootstrap, home)
    (message,) = consume(topic, bootstrap).values()
    assert (message.key(), message.value()) == (None, b"")


def test_a_rate_is_kept(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    done = send(orders, topic, bootstrap, home, limit=300, rate=150)
    # The events of the second second are sent when it begins.
    assert done.seconds >= 1.0
    assert done.produced == 300


def test_a_topic_made_anew_gets_all_events_again(
    orders: Orders, topic: str, bootstrap: str, home: Path, create_topic: Callable[[str], None]
) -> None:
    before = send(orders, topic, bootstrap, home)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.delete_topics([topic])[topic].result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while topic in admin.list_topics(timeout=PATIENCE).topics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    create_topic(topic)
    after = send(orders, topic, bootstrap, home)
    assert (after.produced, after.skipped) == (EVENTS, 0)
    assert after.oracle != before.oracle
    assert_exactly_once(orders, after.oracle, consume(topic, bootstrap))


def test_an_older_producer_is_shut_out(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    events = list(orders)[:10]
    older = TransactionalProducer(topic=topic, bootstrap=bootstrap, progress_group="test-progress")
    newer = TransactionalProducer(topic=topic, bootstrap=bootstrap, progress_group="test-progress")
    log = DeliveryLog(home / "log.ndjson")
    newer.send(events, log=log)
    newer.settle()
    with pytest.raises(KafkaError, match=r"another producer of .* took over"):
        older.send(events, log=log)
    assert {record.place for record in oracle.read(log.path)} == set(consume(topic, bootstrap))


def test_a_second_producer_of_the_same_home_is_refused(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    log = send(orders, topic, bootstrap, home, limit=10).oracle
    with exclusive(log.parent / "lock", patience=0), pytest.raises(ServiceError, match="has held"):
        send(orders, topic, bootstrap, home)


def test_a_lost_log_is_noticed(orders: Orders, topic: str, bootstrap: str, home: Path) -> None:
    send(orders, topic, bootstrap, home, limit=10).oracle.unlink()
    with pytest.raises(KafkaError, match="tells of 0 events, but 10 are in the topic"):
        send(orders, topic, bootstrap, home)


def test_a_missing_topic_is_named(orders: Orders, bootstrap: str, home: Path) -> None:
    with pytest.raises(KafkaError, match=r"no topic no\.such\.topic") as error:
        send(orders, "no.such.topic", bootstrap, home)
    assert "lakehouse topics apply" in error.value.remedy


def test_a_broker_that_is_down_is_noticed_soon(orders: Orders, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with pytest.raises(KafkaError, match="does not answer"):
            send(orders, "any", f"127.0.0.1:{nobody.getsockname()[1]}", home)
    assert time.monotonic() - began < 2 * TIMEOUT_S
    assert capfd.readouterr() == ("", "")


def test_the_command(
    datasets: dict[str, Dataset], bootstrap: str, home: Path, create_topic: Callable[[str], None]
) -> None:
    environment = {
        "LAKEHOUSE_HOME": str(home),
        "LAKEHOUSE_PROJECT": str(REPOSITORY),
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
    }
    run = CliRunner().invoke
    for name in ("flights", "orders"):
        create_topic(datasets[name].topic.name)
    (home.parent / "sample.ndjson").write_text('{"order_id": "hand-written"}\nno json\n')

    flights = run(app, ["flights", "--limit", "50", "--json"], env=environment)
    again = run(app, ["flights", "--limit", "60", "--json"], env=environment)
    orders = run(app, ["orders", "--events", "200", "--seed", "5", "--json"], env=environment)
    sample = run(app, ["file", "orders", "--from", str(home.parent / "sample.ndjson"), "--json"], env=environment)
    plain = run(app, ["orders", "--events", "200", "--seed", "5"], env=environment)

    assert [result.exit_code for result in (flights, again, orders, sample, plain)] == [0] * 5
    summary = json.loads(flights.stdout)
    assert summary.keys() == {"topic", "produced", "skipped", "seconds", "events_per_s", "oracle"}
    assert (summary["topic"], summary["produced"], summary["skipped"]) == (datasets["flights"].topic.name, 50, 0)
    assert (json.loads(again.stdout)["produced"], json.loads(again.stdout)["skipped"]) == (10, 50)
    assert len(list(oracle.read(Path(summary["oracle"])))) == 60
    assert json.loads(orders.stdout)["produced"] == 200
    assert json.loads(sample.stdout)["produced"] == 2
    assert "0 events sent, 200 were there already" in plain.stdout
    keys = {message.key() for message in consume(datasets["orders"].topic.name, bootstrap).values()}
    assert b"hand-written" in keys


def test_the_retail_command(
    datasets: dict[str, Dataset], bootstrap: str, home: Path, create_topic: Callable[[str], None]
) -> None:
    environment = {
        "LAKEHOUSE_HOME": str(home),
        "LAKEHOUSE_PROJECT": str(REPOSITORY),
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
    }
    streams = ("customers", "orders")
    for name in streams:
        create_topic(datasets[name].topic.name)
    command = ["retail", "--orders", "100", "--days", "3", *(word for name in streams for word in ("--only", name))]

    first = CliRunner().invoke(app, [*command, "--json"], env=environment)
    again = CliRunner().invoke(app, command, env=environment)
    both = CliRunner().invoke(app, [*command, "--live", "--rate", "5"], env=environment)

    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    sent = json.loads(first.stdout)
    assert [one["topic"] for one in sent] == [datasets[name].topic.name for name in streams]
    assert again.stdout.count(" 0 events sent") == len(streams)
    assert isinstance(both.exception, ConfigurationError)
    for one in sent:
        seen = consume(one["topic"], bootstrap)
        assert len(seen) == one["produced"]
        for record in oracle.read(Path(one["oracle"])):
            message = seen[record.place]
            if record.kind == "delete":
                kind, time_ms = message.timestamp()
                assert (message.value(), kind) == (None, ck.TIMESTAMP_CREATE_TIME)
                assert time_ms == record.version[0].timestamp() * 1000
            else:
                assert message.value() is not None or record.kind == "duplicate"
