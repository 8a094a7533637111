"""What is known of the local Kafka cluster between two commands: `services/kafka.json` under the lakehouse's home."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services.cluster import Broker, Cluster
from dagster_project.services.daemon import Daemon
from dagster_project.services.whole import write_whole


def state_file(home: Path) -> Path:
    return home / "services" / "kafka.json"


def broker_folder(home: Path, broker_id: int) -> Path:
    return home / "services" / f"kafka-{broker_id}"


def load(home: Path) -> Cluster | None:
    """The cluster of this home, or `None` where none was ever started.

    Raises:
        ServiceError: the file is damaged.
    """
    path = state_file(home)
    try:
        content = json.loads(path.read_bytes())
        brokers = tuple(_broker(home, entry) for entry in content["brokers"])
        return Cluster(id=str(content["cluster_id"]), brokers=brokers)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(
            f"{path} is damaged ({type(error).__name__}: {error})",
            expected="the state that `lakehouse up` writes",
            remedy="delete that file and run `lakehouse up`: topics and their data are kept",
        ) from error


def save(home: Path, cluster: Cluster) -> None:
    """Write the state, whole or not at all."""
    content = {"cluster_id": cluster.id, "brokers": [_entry(broker) for broker in cluster.brokers]}
    write_whole(state_file(home), json.dumps(content, indent=2) + "\n")


def data_on_disk(home: Path) -> tuple[str, int]:
    """The cluster id and number of brokers that their data tell, for when the state was lost; `("", 0)` if none."""
    cluster_id, brokers = "", 0
    while (properties := broker_folder(home, brokers + 1) / "data" / "meta.properties").is_file():
        entries = dict(line.split("=", 1) for line in properties.read_text().splitlines() if "=" in line)
        cluster_id, brokers = entries["cluster.id"], brokers + 1
    return cluster_id, brokers


def _broker(home: Path, entry: dict[str, int | float]) -> Broker:
    broker = Broker(
        id=int(entry["id"]),
        client_port=int(entry["client_port"]),
        controller_port=int(entry["controller_port"]),
        # Not kept: a home that was moved or copied has brokers of its own.
        folder=broker_folder(home, int(entry["id"])),
    )
    if "pid" not in entry:
        return broker
    pid, created = int(entry["pid"]), float(entry["created"])
    return replace(broker, daemon=Daemon(pid=pid, created=created, marker=str(broker.properties)))


def _entry(broker: Broker) -> dict[str, int | float]:
    entry: dict[str, int | float] = {
        "id": broker.id,
        "client_port": broker.client_port,
        "controller_port": broker.controller_port,
    }
    if broker.daemon:
        entry |= {"pid": broker.daemon.pid, "created": broker.daemon.created}
    return entry
