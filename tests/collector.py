"""A collector of spans: an HTTP server that takes what OTLP exporters send, and keeps it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from dagster_project.services.ports import LOOPBACK

_PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True)
class Received:
    """A span as it was sent; ids as hexadecimal numbers, `parent` empty where there is none."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    seconds: float
    failed: bool
    attributes: dict[str, Any]
    links: tuple[str, ...]


@dataclass(kw_only=True)
class Collector:
    """What has arrived so far."""

    url: str
    spans: list[Received] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def wait(self, *names: str) -> None:
        """Wait until there is a span of each name."""
        deadline = time.monotonic() + _PATIENCE
        while missing := set(names) - {span.name for span in self.spans}:
            assert time.monotonic() < deadline, f"{missing} did not arrive, {len(self.spans)} spans did"
            time.sleep(0.02)


@contextmanager
def collecting() -> Generator[Collector]:
    """Run a collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if found:
                collector.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is the library's
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False  # senders keep their connections
        collector = Collector(url=f"http://{LOOPBACK}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(request: ExportTraceServiceRequest) -> Generator[Received]:
    for resource in request.resource_spans:
        told = {entry.key: _value(entry.value) for entry in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    service=told["service.name"],
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes={entry.key: _value(entry.value) for entry in span.attributes},
                    links=tuple(f"{link.trace_id.hex()}/{link.span_id.hex()}" for link in span.links),
                )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)
