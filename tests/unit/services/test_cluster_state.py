"""What is remembered of the cluster between two commands."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.errors import ConfigurationError, ServiceError
from dagster_project.services import daemon, kafka, state
from dagster_project.services.cluster import Broker, Cluster
from dagster_project.services.daemon import Daemon
from dagster_project.services.plan import planned
from dagster_project.settings import Settings


def settings(home: Path, *, bootstrap_servers: str = "") -> Settings:
    return Settings(home=home, project=home, lake_uri=str(home / "lake"), bootstrap_servers=bootstrap_servers)


def one_broker(home: Path) -> Cluster:
    return Cluster(
        id="id",
        brokers=(Broker(id=1, client_port=9092, controller_port=9093, folder=home / "services" / "kafka-1"),),
    )


def test_a_saved_cluster_is_loaded_as_it_was(tmp_path: Path) -> None:
    cluster = one_broker(tmp_path)
    broker = cluster.broker(1)
    cluster = cluster.having(replace(broker, daemon=Daemon(pid=1, created=2.5, marker=str(broker.properties))))

    state.save(tmp_path, cluster)

    assert state.load(tmp_path) == cluster
    assert [path.name for path in (tmp_path / "services").iterdir()] == ["kafka.json"]


def test_a_moved_home_has_brokers_of_its_own(tmp_path: Path) -> None:
    state.save(tmp_path / "before", one_broker(tmp_path / "before"))
    (tmp_path / "before").rename(tmp_path / "after")

    loaded = state.load(tmp_path / "after")

    assert loaded
    assert loaded.broker(1).folder == tmp_path / "after" / "services" / "kafka-1"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"cluster_id": "x", "brokers": [{"id": 1}]}', '{"brokers": 3}', "\xff"]
)
def test_a_damaged_record_is_an_error_with_a_remedy(tmp_path: Path, content: str) -> None:
    path = state.state_file(tmp_path)
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")

    for command in (kafka.up, kafka.down, kafka.status, kafka.bootstrap_servers):
        with pytest.raises(ServiceError, match=r"kafka\.json is damaged .*\n.*\n.*delete that file"):
            command(settings(tmp_path))
    assert path.read_text(encoding="latin-1") == content


def test_the_data_tell_which_cluster_they_are_of_when_the_record_is_lost(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        data = tmp_path / "services" / f"kafka-{number}" / "data"
        data.mkdir(parents=True)
        (data / "meta.properties").write_text(f"#\nnode.id={number}\ncluster.id=ab==\nversion=1\n")

    cluster = planned(tmp_path, None)

    assert cluster.id == "ab=="
    assert [broker.id for broker in cluster.brokers] == [1, 2, 3]


def test_a_new_cluster_has_one_broker_and_an_id_of_its_own(tmp_path: Path) -> None:
    first, second = planned(tmp_path, None), planned(tmp_path, None)

    assert len(first.brokers) == 1
    assert first.id != second.id
    assert len(first.id) == 22


def test_a_cluster_of_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--brokers 2\n  expected: 1 or 3"):
        kafka.up(settings(tmp_path), brokers=2)
    assert not state.state_file(tmp_path).exists()


def test_clients_are_sent_to_the_cluster_of_the_environment_first(tmp_path: Path) -> None:
    assert kafka.bootstrap_servers(settings(tmp_path, bootstrap_servers="kafka:9092")) == "kafka:9092"


def test_clients_are_told_what_to_do_where_there_is_no_broker(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"no Kafka broker\n.*lakehouse up.*KAFKA_BOOTSTRAP_SERVERS"):
        kafka.bootstrap_servers(settings(tmp_path))


def test_clients_are_sent_to_the_local_cluster_while_it_runs(tmp_path: Path) -> None:
    cluster = one_broker(tmp_path)
    marker = str(cluster.broker(1).properties)
    command = [sys.executable, "-c", "import time; time.sleep(60)", marker]
    running = daemon.spawn(command, marker=marker, log=tmp_path / "log", environment=os.environ)
    state.save(tmp_path, cluster.having(replace(cluster.broker(1), daemon=running)))

    assert kafka.bootstrap_servers(settings(tmp_path)) == "127.0.0.1:9092"

    daemon.stop([running], patience=0)
    assert "pid" in json.loads(state.state_file(tmp_path).read_text())["brokers"][0]
    with pytest.raises(ServiceError, match="no Kafka broker"):
        kafka.bootstrap_servers(settings(tmp_path))
