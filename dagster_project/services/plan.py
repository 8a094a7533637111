"""Which cluster the next start is of: the one there was, on its ports where they are still free, or a new one."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dagster_project.errors import ConfigurationError, ServiceError
from dagster_project.services import state
from dagster_project.services.cluster import SIZES, Broker, Cluster
from dagster_project.services.ports import free_port, is_free, port_taken, requested_ports

# A port yet to be chosen.
_NO_PORT = 0


def planned(home: Path, brokers: int | None) -> Cluster:
    """The cluster of this home: as recorded, or as its data tell where the record was lost, or new.

    Args:
        brokers: how many it must have; `None`: as many as there were, or 1.

    Raises:
        ConfigurationError: no cluster can have that many.
        ServiceError: there is one with another number of brokers, or its record is damaged.
    """
    if brokers not in (None, *SIZES):
        raise ConfigurationError(f"--brokers {brokers}", expected=" or ".join(str(size) for size in SIZES))
    cluster = state.load(home)
    if cluster is None:
        cluster_id, count = state.data_on_disk(home)
        cluster = _cluster(home, cluster_id or _new_id(), count or brokers or 1)
    if brokers not in (None, len(cluster.brokers)):
        raise ServiceError(
            f"the Kafka cluster in {state.state_file(home).parent} has {len(cluster.brokers)} broker(s)",
            expected=f"{brokers}, as asked for",
            remedy=f"run `lakehouse up --brokers {len(cluster.brokers)}`; or, to lose all its topics and start over, "
            f"`lakehouse down`, delete {state.state_file(home).parent} and try again",
        )
    return cluster


def with_free_ports(cluster: Cluster, *, environment: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster with ports that its missing brokers can listen on: their last ones where nobody took them.

    Raises:
        ServiceError: a port is taken that was asked for, or that the running brokers know a missing one by.
    """
    requested = requested_ports(len(cluster.brokers), environment=environment)
    movable = not any(broker.is_running for broker in cluster.brokers)
    if movable:
        for index, broker in enumerate(cluster.brokers):
            client_port = requested[index] if requested else _free(broker.client_port, cluster, requested)
            cluster = cluster.having(replace(broker, client_port=client_port))
            controller_port = _free(broker.controller_port, cluster, requested)
            cluster = cluster.having(replace(cluster.broker(broker.id), controller_port=controller_port))
    for broker in cluster.brokers:
        for port in (broker.client_port, broker.controller_port):
            if not broker.is_running and not is_free(port):
                raise port_taken(port)
    return cluster


def _free(port: int, cluster: Cluster, requested: tuple[int, ...]) -> int:
    """`port` where it is free and not asked for as another's, or else a new one that none of the cluster has."""
    if port != _NO_PORT and port not in requested and is_free(port):
        return port
    own = {port for broker in cluster.brokers for port in (broker.client_port, broker.controller_port)}
    return free_port(taken=own.union(requested))


def _cluster(home: Path, cluster_id: str, brokers: int) -> Cluster:
    return Cluster(
        id=cluster_id,
        brokers=tuple(
            Broker(id=number, client_port=_NO_PORT, controller_port=_NO_PORT, folder=state.broker_folder(home, number))
            for number in range(1, brokers + 1)
        ),
    )


def _new_id() -> str:
    """A random UUID in the form that Kafka gives its ids. Not one that starts with a dash, which reads as an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
