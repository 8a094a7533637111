"""The `/metrics` endpoint."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from dagster_project.errors import ServiceError
from dagster_project.metrics.exporter import Exporter
from dagster_project.services.exposed import Exposed

# For a request's head, and for the first words of TLS: who says nothing keeps a thread for no longer.
_PATIENCE_S = 10.0


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
        """Say nothing of each scrape."""


class _Server(ThreadingWSGIServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of who hangs up, or does not speak TLS."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType] as it was given


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(exporter: Exporter, *, exposed: Exposed, port: int) -> Generator[int]:
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
    kind = _Server6 if ":" in exposed.host else _Server
    try:
        server = make_server(
            exposed.host, port, _guarded(make_wsgi_app(registry), exposed), kind, handler_class=_Handler
        )
    except OSError as error:
        raise ServiceError(
            f"{exposed.host}:{port} cannot be listened on: {error}",
            expected="a free port for the metrics",
            remedy="name another one with --port, or end what listens there",
        ) from error
    if exposed.certificate is not None:
        # Hands are shaken by the thread of each request: whoever is slow at it keeps nobody else waiting.
        server.socket = exposed.context().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _guarded(app: Callable[..., Iterable[bytes]], exposed: Exposed) -> Callable[..., Iterable[bytes]]:
    """The application, for whoever has the token."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if exposed.token and not exposed.is_bearer(environ.get("HTTP_AUTHORIZATION", "")):
            start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")])
            return [b"a token is needed: Authorization: Bearer <token>\n"]
        return app(environ, start_response)

    return guarded
