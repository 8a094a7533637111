"""Starting and stopping brokers of a cluster, with a note of each step so that an interruption leaves none behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from dagster_project.services import daemon, state
from dagster_project.services.cluster import Broker, Cluster
from dagster_project.services.java import class_path, find_java
from dagster_project.services.launch import format_storage, launch
from dagster_project.services.plan import with_free_ports
from dagster_project.services.probe import wait_until_in_service

# A controlled shutdown takes 1 to 6 s; one without a quorum may never end, and killing a broker loses nothing.
STOP_SECONDS = 15.0
# After Ctrl-C a person waits.
_ABANDON_SECONDS = 3.0


def start(home: Path, cluster: Cluster, brokers: Sequence[Broker], *, report: Callable[[str], None]) -> None:
    """Start these brokers and wait until they are in service: all of them or, on any failure, none.

    Raises:
        ServiceError: Java or the jars are missing, a port is taken, or a broker does not come up.
        ConfigurationError: LAKEHOUSE_KAFKA_PORT is not a port.
    """
    java, jars = find_java(), class_path(report=report)
    ids = [broker.id for broker in brokers]
    _end(brokers, patience=STOP_SECONDS)  # those that we lost track of: their ports and data are needed
    cluster = with_free_ports(cluster)
    report(f"Starting Apache Kafka, {len(ids)} broker(s), on {cluster.bootstrap_servers}")
    try:
        with ThreadPoolExecutor() as pool:
            prepare = partial(format_storage, cluster, java=java, class_path=jars)
            list(pool.map(prepare, [cluster.broker(id_) for id_ in ids]))
        for id_ in ids:
            cluster = cluster.having(launch(cluster, cluster.broker(id_), java=java, class_path=jars))
            state.save(home, cluster)
        wait_until_in_service(cluster.bootstrap_servers, [cluster.broker(id_) for id_ in ids])
    except BaseException:  # Ctrl-C too
        stop(home, cluster, [cluster.broker(id_) for id_ in ids], patience=_ABANDON_SECONDS)
        raise


def stop(home: Path, cluster: Cluster, brokers: Sequence[Broker], *, patience: float) -> bool:
    """Stop these brokers, by force after `patience` seconds (0: at once); returns whether any ran."""
    any_ran = _end(brokers, patience=patience)
    for broker in brokers:
        cluster = cluster.having(replace(broker, daemon=None))
    state.save(home, cluster)
    return any_ran


def _end(brokers: Sequence[Broker], *, patience: float) -> bool:
    """End their processes, those too whose starter was killed before it noted the pid."""
    daemons = [d for b in brokers if (d := b.daemon if b.is_running else daemon.find(str(b.properties)))]
    daemon.stop(daemons, patience=patience)
    return bool(daemons)
