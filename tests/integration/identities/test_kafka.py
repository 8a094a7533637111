"""A cluster with users: each component does what its rights allow and no more, and is told why where it may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_project.alerts import probes
from dagster_project.errors import KafkaError
from dagster_project.ingest.fetch import publish_offsets
from dagster_project.ingest.horizon import horizons
from dagster_project.outbox.publish import publish
from dagster_project.sources.orders import Orders
from dagster_project.topics import broker, security
from dagster_project.topics.broker import Broker
from tests.integration.lake import Lake, own_lake
from tests.production.services.kafka import SecureKafka

Become = Callable[[str], None]
EVENTS = 60


@pytest.fixture
def become(kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> Become:
    """Gives this process the identity of a user, by its environment."""

    def change(user: str) -> None:
        for name, value in kafka.variables(user).items():
            monkeypatch.setenv(name, value)

    return change


@pytest.fixture
def orders(kafka: SecureKafka, become: Become, tmp_path: Path) -> Lake:
    """A dataset whose rights are given and whose topics are there, made by whoever may."""
    lake = own_lake("orders", servers=kafka.servers, uri=str(tmp_path / "lake"), home=tmp_path)
    kafka.grant([lake.dataset])
    become("operator")
    lake.create_topic()
    return lake


def events(lake: Lake) -> Orders:
    return Orders(dataset=lake.dataset, events=EVENTS, seed=7, poison=0.2)


def ends(lake: Lake, become: Become) -> dict[int, int]:
    become("operator")
    return dict(Broker(lake.servers).topic(lake.dataset.topic.name).end)


def test_each_component_does_its_work_with_its_own_rights(orders: Lake, become: Become) -> None:
    become("producer")
    assert orders.produce(events(orders)).produced == EVENTS
    become("ingest")
    orders.ingest()
    assert len(orders.bronze()) == EVENTS
    become("outbox")
    letters = publish(orders.dataset, storage=orders.storage, bootstrap_servers=orders.servers).letters
    assert letters == (orders.bronze()["_kind"] == "poison").sum() > 0
    become("ingest")
    orders.refine()
    orders.compute()
    assert orders.account().accounted


def test_runs_have_the_rights_of_ingest_and_outbox_together(orders: Lake, become: Become) -> None:
    become("producer")
    orders.produce(events(orders))
    become("runs")
    orders.ingest()
    assert publish(orders.dataset, storage=orders.storage, bootstrap_servers=orders.servers).letters > 0
    with pytest.raises(KafkaError, match="does not allow user 'runs' to send to topic"):
        orders.produce(Orders(dataset=orders.dataset, events=EVENTS, seed=8))


def test_who_has_no_rights_reads_and_writes_nothing_and_is_told(
    kafka: SecureKafka, orders: Lake, become: Become
) -> None:
    become("producer")
    orders.produce(events(orders))
    before = ends(orders, become)
    become("nobody")
    for attempt in (
        lambda: Broker(orders.servers).topic(orders.dataset.topic.name),
        lambda: orders.produce(Orders(dataset=orders.dataset, events=EVENTS, seed=9)),
        orders.ingest,
        lambda: publish(orders.dataset, storage=orders.storage, bootstrap_servers=orders.servers),
        orders.create_topic,
    ):
        with pytest.raises(KafkaError, match="does not allow user 'nobody' to ") as refused:
            attempt()
        assert "`lakehouse topics rights`" in refused.value.remedy
        assert kafka.variables("nobody")["KAFKA_SASL_PASSWORD"] not in str(refused.value)
    assert orders.tables() == {}
    assert ends(orders, become) == before


def test_ingest_writes_no_letter(orders: Lake, become: Become) -> None:
    become("producer")
    orders.produce(events(orders))
    become("ingest")
    orders.ingest()
    with pytest.raises(KafkaError, match="does not allow user 'ingest' to send to topic"):
        publish(orders.dataset, storage=orders.storage, bootstrap_servers=orders.servers)


def test_who_lacks_the_right_to_a_group_is_told_so_at_once(orders: Lake, become: Become) -> None:
    """Within the time that any answer may take, and not only when the client library has given up."""
    committed = {"bootstrap_servers": orders.servers, "topic": orders.dataset.topic.name}
    group = f"lakehouse-{orders.dataset.name}"
    become("outbox")
    problem = publish_offsets(**committed, offsets={0: 1}, group=group)
    assert problem is not None
    assert f"does not allow user 'outbox' to commit offsets of consumer group '{group}'" in problem
    assert "`lakehouse topics rights`" in problem
    become("ingest")
    assert publish_offsets(**committed, offsets={0: 1}, group=group) is None


def test_a_monitor_knows_the_lag_and_says_that_it_cannot_know_the_rest(orders: Lake, become: Become) -> None:
    become("producer")
    orders.produce(events(orders))
    become("monitor")
    (horizon,) = horizons([orders.dataset], storage=orders.storage, bootstrap_servers=orders.servers)
    topic = Broker(orders.servers).topic(orders.dataset.topic.name)
    assert horizon.lag == sum(topic.end.values()) - sum(topic.first.values()) > EVENTS
    assert horizon.state == "unknown"
    assert "does not allow user 'monitor' to read topic" in horizon.found


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("KAFKA_SASL_PASSWORD", "not-the-one", "does not let in user 'ingest'"),
        ("KAFKA_SASL_USERNAME", "somebody", "does not let in user 'somebody'"),
        ("KAFKA_SASL_MECHANISM", "PLAIN", "does not let in user 'ingest'"),
        ("KAFKA_SSL_CA_LOCATION", "", "no TLS with Kafka"),
        ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", "hangs up on KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
    ],
)
def test_who_is_not_let_in_is_told_why(
    kafka: SecureKafka, become: Become, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    become("ingest")
    assert security.knock(kafka.servers) is None
    monkeypatch.setenv(variable, value)
    refused = security.knock(kafka.servers)
    assert refused is not None
    assert words in refused.found
    assert refused.expected
    assert variable in refused.remedy
    assert kafka.variables("ingest")["KAFKA_SASL_PASSWORD"] not in str(refused)
    assert "not-the-one" not in str(refused)


def test_a_wrong_password_is_no_silence(kafka: SecureKafka, become: Become, monkeypatch: pytest.MonkeyPatch) -> None:
    become("ingest")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "not-the-one")
    monkeypatch.setattr(broker, "TIMEOUT_S", 1.0)  # after which it looks for the reason
    with pytest.raises(KafkaError, match="does not let in user 'ingest'"):
        broker.Broker(kafka.servers).cluster_id()
    assert "does not let in user 'ingest'" in probes.broker(lambda: kafka.servers).found
