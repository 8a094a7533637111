"""The local Kafka cluster: up, down, status, and its brokers one by one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services import state, supervise
from dagster_project.services.cluster import Cluster
from dagster_project.services.lock import exclusive
from dagster_project.services.plan import planned
from dagster_project.services.probe import registered
from dagster_project.settings import Settings, make_pseudonym_keys
from dagster_project.topics.security import knock

# Longer than a first `up`, jars included, takes on a usual line.
_LOCK_SECONDS = 180.0

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BrokerStatus:
    """One local broker.

    Attributes:
        pid: `None` when it does not run.
        in_service: the cluster counts it as its own, so that clients can use it.
    """

    id: int
    address: str
    pid: int | None
    in_service: bool
    log: Path


@dataclass(frozen=True, kw_only=True)
class Status:
    """What there is of Kafka.

    Attributes:
        bootstrap_servers: empty where none was ever started.
        managed: it is the local cluster; otherwise the one of KAFKA_BOOTSTRAP_SERVERS, and `brokers` is empty.
        cluster_id: as the cluster tells it; empty when it does not answer.
    """

    bootstrap_servers: str
    managed: bool
    cluster_id: str
    brokers: tuple[BrokerStatus, ...]


def _silent(_: str) -> None:
    """Nobody wants to know."""


def bootstrap_servers(settings: Settings) -> str:
    """Where clients find Kafka: KAFKA_BOOTSTRAP_SERVERS, or else the local cluster, at least one broker of which runs.

    Raises:
        ServiceError: there is no broker.
    """
    if settings.bootstrap_servers:
        return settings.bootstrap_servers
    cluster = state.load(settings.home)
    if cluster is None or not any(broker.is_running for broker in cluster.brokers):
        raise ServiceError("no Kafka broker", remedy="run `lakehouse up`, or set KAFKA_BOOTSTRAP_SERVERS")
    return cluster.bootstrap_servers


def up(settings: Settings, *, brokers: int | None = None, report: Report = _silent) -> Status:
    """Start what is not running of the local cluster; or check that the one of KAFKA_BOOTSTRAP_SERVERS answers.

    Args:
        brokers: 1 or 3; `None`: as many as there were, 1 the first time.
        report: is told of each step.

    Raises:
        ServiceError: it cannot be started, and what had been started is stopped again; or it does not answer.
        KafkaError: the one of KAFKA_BOOTSTRAP_SERVERS does not let this process in.
        ConfigurationError: `brokers` or LAKEHOUSE_KAFKA_PORT makes no sense.
    """
    if settings.bootstrap_servers:
        there = status(settings)
        if not there.cluster_id:
            if (refused := knock(settings.bootstrap_servers)) is not None:
                raise refused
            raise ServiceError(
                f"no answer from KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers}",
                expected="a Kafka cluster",
                remedy="start it or correct the address; or unset it, and `lakehouse up` starts a broker here",
            )
        report(f"Kafka answers on {settings.bootstrap_servers}; nothing to start")
        return there
    make_pseudonym_keys(settings.home)
    with _exclusive(settings):
        cluster = planned(settings.home, brokers)
        missing = [broker for broker in cluster.brokers if not broker.is_running]
        if missing:
            supervise.start(settings.home, cluster, missing, report=report)
        else:
            report(f"Kafka is already running on {cluster.bootstrap_servers}")
    return status(settings)


def down(settings: Settings, *, report: Report = _silent) -> Status:
    """Stop the local cluster and keep its data. One that KAFKA_BOOTSTRAP_SERVERS names is left alone."""
    if settings.bootstrap_servers:
        report(f"Kafka on {settings.bootstrap_servers} was not started by `lakehouse up`; nothing to stop")
        return status(settings)
    with _exclusive(settings):
        cluster = state.load(settings.home)
        if cluster and supervise.stop(settings.home, cluster, cluster.brokers, patience=supervise.STOP_SECONDS):
            report("Kafka is stopped; its data is kept")
        else:
            report("Kafka is not running; nothing to stop")
    return status(settings)


def status(settings: Settings) -> Status:
    """Ask the cluster and the system. Waits at most 5 s for an answer."""
    if settings.bootstrap_servers:
        cluster_id, _ = registered(settings.bootstrap_servers)
        servers = settings.bootstrap_servers
        return Status(bootstrap_servers=servers, managed=False, cluster_id=cluster_id, brokers=())
    cluster = state.load(settings.home)
    if cluster is None:
        return Status(bootstrap_servers="", managed=True, cluster_id="", brokers=())
    pids = {broker.id: broker.daemon.pid for broker in cluster.brokers if broker.daemon and broker.is_running}
    cluster_id, in_service = registered(cluster.bootstrap_servers) if pids else ("", frozenset[int]())
    brokers = tuple(
        BrokerStatus(
            id=broker.id,
            address=broker.address,
            pid=pids.get(broker.id),
            in_service=broker.id in in_service,
            log=broker.log,
        )
        for broker in cluster.brokers
    )
    return Status(bootstrap_servers=cluster.bootstrap_servers, managed=True, cluster_id=cluster_id, brokers=brokers)


def start_broker(settings: Settings, broker_id: int, *, report: Report = _silent) -> None:
    """Start one broker of the local cluster and wait until it is in service, for which most of them must run.

    Raises:
        ServiceError: there is no such broker, or it does not come up.
    """
    with _exclusive(settings):
        cluster = _known(settings)
        broker = cluster.broker(broker_id)
        if not broker.is_running:
            supervise.start(settings.home, cluster, [broker], report=report)


def stop_broker(settings: Settings, broker_id: int, *, kill: bool = False) -> None:
    """Stop one broker of the local cluster; `kill`: as a crash would, with no farewell to the others.

    Raises:
        ServiceError: there is no such broker.
    """
    with _exclusive(settings):
        cluster = _known(settings)
        patience = 0.0 if kill else supervise.STOP_SECONDS
        supervise.stop(settings.home, cluster, [cluster.broker(broker_id)], patience=patience)


def _exclusive(settings: Settings) -> AbstractContextManager[None]:
    return exclusive(settings.home / "services" / "kafka.lock", patience=_LOCK_SECONDS)


def _known(settings: Settings) -> Cluster:
    cluster = state.load(settings.home)
    if cluster is None:
        raise ServiceError("there is no local Kafka cluster yet", remedy="run `lakehouse up`")
    return cluster
