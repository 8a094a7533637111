"""A webhook of our own: whatever is told to it, and when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dagster_project.services.ports import LOOPBACK


@dataclass(kw_only=True)
class Hook:
    """Attributes: `told`: each alert that was posted, as of one transition, and when (since the epoch)."""

    url: str = ""
    told: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def has(self, alert: str, state: str, *, since: float) -> bool:
        return any(at >= since and (told["alert"], told["state"]) == (alert, state) for at, told in list(self.told))


@contextmanager
def hook() -> Generator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.told.append((time.time(), json.loads(body)["alert"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as the library calls it
            """It is kept in `told`."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    found.url = f"http://{LOOPBACK}:{server.server_address[1]}/alerts"
    thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
