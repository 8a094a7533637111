"""The `/metrics` endpoint."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from dagster_project.errors import ServiceError
from dagster_project.metrics.exporter import Exporter


@contextmanager
def serving(exporter: Exporter, *, host: str, port: int) -> Generator[int]:
    """Serve it for as long as the context lasts.

    Args:
        port: 0 for a free one.

    Yields:
        The port.

    Raises:
        ServiceError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(exporter)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ServiceError(
            f"{host}:{port} cannot be listened on: {error}",
            expected="a free port for the metrics",
            remedy="name another one with --port, or end what listens there",
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
