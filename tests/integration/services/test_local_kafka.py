"""Apache Kafka itself, as local processes: started, interrupted, lost and found again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from dagster_project.errors import ServiceError
from dagster_project.services import daemon, kafka, state
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import Settings

# Far more than a request takes on a busy machine.
PATIENCE = 30.0


def admin(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers(settings), "log_level": 0})


def create_topic(settings: Settings, name: str) -> None:
    client = admin(settings)  # must outlive the answer
    # -1: as many copies as the cluster keeps by default.
    client.create_topics([NewTopic(name, num_partitions=1, replication_factor=-1)])[name].result(PATIENCE)


def topics(settings: Settings) -> set[str]:
    return set(admin(settings).list_topics(timeout=PATIENCE).topics)


def pids(settings: Settings) -> list[int | None]:
    return [broker.pid for broker in kafka.status(settings).brokers]


def broker_process(settings: Settings) -> daemon.Daemon | None:
    return daemon.find(str(state.broker_folder(settings.home, 1) / "server.properties"))


def lakehouse(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell gives it to one in the foreground."""
    environment = os.environ | {"LAKEHOUSE_HOME": str(settings.home), "LAKEHOUSE_PROJECT": str(settings.project)}
    environment.pop("KAFKA_BOOTSTRAP_SERVERS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli.main", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def test_a_started_cluster_is_in_service_under_its_id(one_broker: Settings) -> None:
    status = kafka.status(one_broker)

    assert status.managed
    assert [(broker.id, broker.in_service) for broker in status.brokers] == [(1, True)]
    assert status.bootstrap_servers == kafka.bootstrap_servers(one_broker)
    assert status.cluster_id == admin(one_broker).list_topics(timeout=PATIENCE).cluster_id


def test_a_second_up_changes_nothing(one_broker: Settings) -> None:
    before, record = kafka.status(one_broker), state.state_file(one_broker.home).read_bytes()
    told: list[str] = []

    assert kafka.up(one_broker, report=told.append) == before

    assert told == [f"Kafka is already running on {before.bootstrap_servers}"]
    assert state.state_file(one_broker.home).read_bytes() == record


def test_a_cluster_keeps_its_number_of_brokers(one_broker: Settings) -> None:
    before = pids(one_broker)

    with pytest.raises(ServiceError, match=r"has 1 broker\(s\)\n.*3, as asked for\n.*--brokers 1"):
        kafka.up(one_broker, brokers=3)

    assert pids(one_broker) == before


def test_topics_and_ports_outlive_down_and_up(one_broker: Settings) -> None:
    create_topic(one_broker, "kept")
    before = kafka.status(one_broker)

    stopped = kafka.down(one_broker)
    assert (stopped.cluster_id, [broker.pid for broker in stopped.brokers]) == ("", [None])
    assert broker_process(one_broker) is None
    with pytest.raises(ServiceError, match="no Kafka broker"):
        kafka.bootstrap_servers(one_broker)

    after = kafka.up(one_broker)
    assert (after.cluster_id, after.bootstrap_servers) == (before.cluster_id, before.bootstrap_servers)
    assert "kept" in topics(one_broker)


def test_a_crashed_broker_is_started_again_on_its_data(one_broker: Settings) -> None:
    create_topic(one_broker, "before-the-crash")
    before = kafka.status(one_broker)
    pid = before.brokers[0].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    psutil.Process(pid).wait(PATIENCE)
    assert pids(one_broker) == [None]

    after = kafka.up(one_broker)

    assert after.brokers[0].pid not in (None, pid)
    assert (after.cluster_id, after.bootstrap_servers) == (before.cluster_id, before.bootstrap_servers)
    assert "before-the-crash" in topics(one_broker)


def test_a_running_cluster_survives_the_loss_of_its_record(one_broker: Settings) -> None:
    create_topic(one_broker, "before-the-loss")
    before = kafka.status(one_broker)
    state.state_file(one_broker.home).write_text("{")

    with lakehouse(one_broker, "up") as command:
        _, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1
    assert "kafka.json is damaged" in errors
    assert "Traceback" not in errors

    state.state_file(one_broker.home).unlink()  # as the error says
    after = kafka.up(one_broker)

    assert after.cluster_id == before.cluster_id
    assert after.brokers[0].pid != before.brokers[0].pid
    assert "before-the-loss" in topics(one_broker)


def test_a_cluster_of_the_environment_is_checked_and_left_alone(one_broker: Settings) -> None:
    elsewhere = replace(one_broker, bootstrap_servers=kafka.bootstrap_servers(one_broker))
    before = pids(one_broker)

    up, down = kafka.up(elsewhere), kafka.down(elsewhere)

    assert up == down
    assert (up.managed, up.brokers) == (False, ())
    assert up.cluster_id == kafka.status(one_broker).cluster_id
    assert pids(one_broker) == before


def test_a_cluster_of_the_environment_that_does_not_answer_is_an_error(nothing_started: Settings) -> None:
    with socket.socket() as reserved:  # bound, but nobody listens
        reserved.bind((LOOPBACK, 0))
        servers = f"{LOOPBACK}:{reserved.getsockname()[1]}"
        with pytest.raises(ServiceError, match=f"no answer from KAFKA_BOOTSTRAP_SERVERS={servers}"):
            kafka.up(replace(nothing_started, bootstrap_servers=servers))


def test_a_taken_port_that_was_asked_for_starts_nothing(
    nothing_started: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        monkeypatch.setenv("LAKEHOUSE_KAFKA_PORT", str(listener.getsockname()[1]))
        with pytest.raises(ServiceError, match=r"port \d+ of 127.0.0.1 is taken by another program"):
            kafka.up(nothing_started, brokers=3)

    assert broker_process(nothing_started) is None
    assert not state.state_file(nothing_started.home).exists()


def test_a_broker_that_cannot_start_is_an_error_with_the_end_of_its_log(one_broker: Settings) -> None:
    before = kafka.down(one_broker)
    properties = Path(before.brokers[0].log).parent / "data" / "meta.properties"
    good = properties.read_text()
    properties.write_text(good.replace("node.id=1", "node.id=7"))

    with pytest.raises(ServiceError, match=r"broker 1 ended while it started(.|\n)*node.id(.|\n)*broker\.log"):
        kafka.up(one_broker)

    assert broker_process(one_broker) is None
    properties.write_text(good)
    assert kafka.up(one_broker).cluster_id


def test_ctrl_c_leaves_no_process_and_the_next_up_works(nothing_started: Settings) -> None:
    with lakehouse(nothing_started, "up") as command:
        deadline = time.monotonic() + PATIENCE
        while broker_process(nothing_started) is None:
            assert time.monotonic() < deadline
            assert command.poll() is None
        os.killpg(command.pid, signal.SIGINT)
        _, errors = command.communicate(timeout=PATIENCE)

    assert command.returncode == 130
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
    assert broker_process(nothing_started) is None
    assert pids(nothing_started) == [None]

    # Two at once, as from two terminals: one starts it, the other finds it.
    with lakehouse(nothing_started, "up") as first, lakehouse(nothing_started, "up") as second:
        told = sorted(command.communicate(timeout=2 * PATIENCE)[1].split(" on ")[0] for command in (first, second))
    assert (first.returncode, second.returncode) == (0, 0)
    assert told == ["Kafka is already running", "Starting Apache Kafka, 1 broker(s),"]
    assert kafka.status(nothing_started).brokers[0].in_service


def test_three_brokers_acknowledge_with_one_of_them_dead(nothing_started: Settings) -> None:
    started = kafka.up(nothing_started, brokers=3)
    assert [broker.in_service for broker in started.brokers] == [True] * 3
    create_topic(nothing_started, "replicated")

    client = admin(nothing_started)
    partition = client.list_topics("replicated", timeout=PATIENCE).topics["replicated"].partitions[0]
    assert sorted(partition.replicas) == [1, 2, 3]
    resource = ConfigResource(ResourceType.TOPIC, "replicated")
    (configuration,) = client.describe_configs([resource]).values()
    assert configuration.result(PATIENCE)["min.insync.replicas"].value == "2"

    kafka.stop_broker(nothing_started, partition.leader, kill=True)
    assert [broker.id for broker in kafka.status(nothing_started).brokers if broker.pid is None] == [partition.leader]

    producer = Producer({"bootstrap.servers": started.bootstrap_servers, "acks": "all", "log_level": 0})
    failures: list[object] = []
    producer.produce("replicated", b"event", on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(PATIENCE) == 0
    assert failures == [None]

    kafka.start_broker(nothing_started, partition.leader)
    assert [broker.in_service for broker in kafka.status(nothing_started).brokers] == [True] * 3
    kafka.down(nothing_started)
