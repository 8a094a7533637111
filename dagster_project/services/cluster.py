"""A local Kafka cluster: which brokers, on which ports, and the settings that each of them is given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services.daemon import Daemon
from dagster_project.services.ports import LOOPBACK

# One for development; three is the least that stays writable with one down.
SIZES = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One node, broker and controller in one.

    Attributes:
        id: from 1.
        client_port, controller_port: on the loopback interface.
        folder: holds its settings, data and log.
        daemon: its process, when it was last started.
    """

    id: int
    client_port: int
    controller_port: int
    folder: Path
    daemon: Daemon | None = None

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.client_port}"

    @property
    def is_running(self) -> bool:
        return self.daemon is not None and self.daemon.is_running

    @property
    def properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Brokers that share one log of metadata, known by `id`."""

    id: str
    brokers: tuple[Broker, ...]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.address for broker in self.brokers)

    def broker(self, broker_id: int) -> Broker:
        """The broker of this id.

        Raises:
            ServiceError: there is none.
        """
        for broker in self.brokers:
            if broker.id == broker_id:
                return broker
        raise ServiceError(
            f"there is no broker {broker_id}", expected=" or ".join(str(broker.id) for broker in self.brokers)
        )

    def having(self, broker: Broker) -> Cluster:
        """The same cluster with this broker in place of the one of the same id."""
        return Cluster(id=self.id, brokers=tuple(broker if broker.id == old.id else old for old in self.brokers))


def properties(cluster: Cluster, broker: Broker, *, data: Path) -> str:
    """The text of `server.properties`, for `broker` to keep its log in `data`."""
    replicas = min(3, len(cluster.brokers))
    # With three replicas two must have a record before it is acknowledged: none is lost with one broker.
    in_sync = max(1, replicas - 1)
    settings: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": broker.id,
        "controller.quorum.voters": ",".join(f"{b.id}@{LOOPBACK}:{b.controller_port}" for b in cluster.brokers),
        "listeners": f"PLAINTEXT://{broker.address},CONTROLLER://{LOOPBACK}:{broker.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{broker.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        # Topics come from contracts; a misspelt name must not make one.
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # A handful of clients; the default of 50 each would only make the first use of each topic slow.
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.num.partitions": 3,
        # Nobody else is about to join a group here.
        "group.initial.rebalance.delay.ms": 0,
        # A quarter of the default, so that a broker joins and leaves at once; a dead one is noticed after
        # twelve missed ones instead of after 9 s.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 4500,
    }
    # The format of Java's properties escapes as JSON does, but for the quotes around a string.
    return "".join(f"{name}={json.dumps(str(value))[1:-1]}\n" for name, value in settings.items())
