"""Free ports of the loopback interface."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Collection, Mapping

from dagster_project.errors import ConfigurationError, ServiceError
from dagster_project.variables.variables import Variables

LOOPBACK = "127.0.0.1"
# Below the ports that systems hand to outgoing connections (from 32768), any of which could take a port of ours
# while its broker is down; and above where well-known services live.
_PORTS = range(20_000, 32_000)
_OVERRIDE = "LAKEHOUSE_KAFKA_PORT"


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Java does: connections that are still winding down do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*, taken: Collection[int] = ()) -> int:
    """A port that nobody listens on and that is not in `taken`.

    Random, so that two installations that start at the same time hardly ever want the same one.

    Raises:
        ServiceError: there is none.
    """
    for port in random.sample(_PORTS, k=len(_PORTS)):
        if port not in taken and is_free(port):
            return port
    raise ServiceError(f"no free port in {_PORTS.start}-{_PORTS.stop - 1}", remedy="stop what listens there")


def requested_ports(count: int, *, environment: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """The client ports that `LAKEHOUSE_KAFKA_PORT` asks for: that one and those after it; empty where it is not set.

    Raises:
        ConfigurationError: it is not a port, or too few come after it.
    """
    first = Variables.read(environment).lakehouse_kafka_port
    if first is None:
        return ()
    if first > 65_536 - count:
        raise ConfigurationError(
            f"{_OVERRIDE}={first}",
            expected=f"a port from 1 to {65_536 - count}",
            remedy=f"correct {_OVERRIDE}, or unset it to have free ports chosen",
        )
    return tuple(range(first, first + count))


def port_taken(port: int) -> ServiceError:
    return ServiceError(
        f"port {port} of {LOOPBACK} is taken by another program",
        expected="a free port for the Kafka broker",
        remedy=f"stop that program (`ss -ltnp 'sport = :{port}'` names it), or set {_OVERRIDE} to another port",
    )
