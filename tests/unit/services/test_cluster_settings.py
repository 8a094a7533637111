"""The settings that a broker is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dagster_project.errors import ServiceError
from dagster_project.services.cluster import Broker, Cluster, properties


def cluster(brokers: int, folder: Path = Path("/home")) -> Cluster:
    return Cluster(
        id="id",
        brokers=tuple(
            Broker(id=n, client_port=9000 + n, controller_port=9100 + n, folder=folder / f"kafka-{n}")
            for n in range(1, brokers + 1)
        ),
    )


def settings(of: Cluster, broker_id: int, data: Path = Path("/data")) -> dict[str, str]:
    text = properties(of, of.broker(broker_id), data=data)
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_broker_replicates_nothing() -> None:
    found = settings(cluster(1), 1)

    assert found["process.roles"] == "broker,controller"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:9101"
    assert {value for name, value in found.items() if name.endswith("replication.factor")} == {"1"}
    assert {value for name, value in found.items() if name.endswith((".isr", "insync.replicas"))} == {"1"}


def test_three_brokers_keep_three_copies_and_acknowledge_with_two() -> None:
    found = settings(cluster(3), 2)

    assert found["node.id"] == "2"
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:9002,CONTROLLER://127.0.0.1:9102"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103"
    assert {value for name, value in found.items() if name.endswith("replication.factor")} == {"3"}
    assert {value for name, value in found.items() if name.endswith((".isr", "insync.replicas"))} == {"2"}


def test_topics_are_never_made_by_a_misspelt_name() -> None:
    assert settings(cluster(1), 1)["auto.create.topics.enable"] == "false"


def test_a_path_is_written_as_java_reads_it() -> None:
    assert settings(cluster(1), 1, Path("/Zoë 🛫/a\\b"))["log.dirs"] == r"/Zo\u00eb \ud83d\udeeb/a\\b"


def test_all_brokers_are_offered_to_clients() -> None:
    assert cluster(3).bootstrap_servers == "127.0.0.1:9001,127.0.0.1:9002,127.0.0.1:9003"


def test_a_changed_broker_takes_the_place_of_the_old_one() -> None:
    before = cluster(3)
    after = before.having(dataclasses.replace(before.broker(2), client_port=1))

    assert [broker.client_port for broker in after.brokers] == [9001, 1, 9003]


def test_an_unknown_broker_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ServiceError, match="no broker 7\n  expected: 1 or 2 or 3"):
        cluster(3).broker(7)
