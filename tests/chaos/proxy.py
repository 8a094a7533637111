"""A TCP proxy before the S3 server that does to chosen requests what networks and stores do to them."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from dagster_project.services.ports import LOOPBACK

# error: the proxy answers by itself. reset: nothing reaches the server. hole: nothing reaches it, and silence.
# drop: the server has acted, and its answer is lost.
Mode = Literal["delay", "error", "reset", "hole", "drop"]

_REASONS = {500: "InternalError", 503: "SlowDown"}
# The server of the tests ends each answer by closing, so one connection serves one request.
_CLOSE = b"Connection: close\r\n"


@dataclass(kw_only=True)
class Rule:
    """What befalls the requests whose first line has all of `match`.

    Attributes:
        times: how many requests; `None` for all until the rule is lifted.
        seconds: of delay or of silence.
        hits: requests that it befell so far.
    """

    mode: Mode
    match: tuple[str, ...] = ()
    times: int | None = 1
    seconds: float = 0.0
    status: int = 500
    hits: int = 0
    lifted: bool = False

    def take(self, line: str) -> bool:
        if self.lifted or (self.times is not None and self.hits >= self.times):
            return False
        if not all(part in line for part in self.match):
            return False
        self.hits += 1
        return True

    @property
    def spent(self) -> bool:
        return self.times is not None and self.hits >= self.times


@dataclass
class Proxy:
    """Passes requests on to a server, but for those that a rule is for."""

    port: int
    upstream: int
    rules: list[Rule] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @contextmanager
    def rule(self, rule: Rule) -> Generator[Rule]:
        self.rules.append(rule)
        try:
            yield rule
        finally:
            rule.lifted = True
            self.rules.remove(rule)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Whatever ends it early is the business of its client."""
        try:
            await self._request(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        fields = [
            f for f in rest.rstrip(b"\r\n").split(b"\r\n") if not f.lower().startswith((b"connection:", b"expect:"))
        ]
        names = {name.lower(): value.strip() for name, _, value in (f.partition(b":") for f in fields)}
        if b"expect:" in rest.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, names)
        rule = next((rule for rule in self.rules if rule.take(line.decode("latin-1"))), None)
        if rule is not None and rule.mode in {"hole", "delay"}:
            await asyncio.sleep(rule.seconds)
        if rule is not None and rule.mode == "error":
            answer = _refusal(rule.status)
        elif rule is not None and rule.mode in {"reset", "hole"}:
            answer = None
        else:
            answer = await self._forward(b"\r\n".join([line, *fields]) + b"\r\n" + _CLOSE + b"\r\n" + body)
        if answer is None or (rule is not None and rule.mode == "drop"):
            _reset(writer)
            return
        writer.write(answer)
        await writer.drain()

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.upstream)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read(-1)
        finally:
            writer.close()


async def _body(reader: asyncio.StreamReader, names: dict[bytes, bytes]) -> bytes:
    if names.get(b"transfer-encoding", b"").lower() != b"chunked":
        return await reader.readexactly(int(names.get(b"content-length", b"0")))
    parts: list[bytes] = []
    while True:
        size = await reader.readline()
        chunk = await reader.readexactly(int(size.partition(b";")[0], 16) + 2)
        parts += [size, chunk]
        if len(chunk) == len(b"\r\n"):
            return b"".join(parts)


def _refusal(status: int) -> bytes:
    code = _REASONS[status]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>chaos</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + _CLOSE + b"\r\n" + body


def _reset(writer: asyncio.StreamWriter) -> None:
    # With no time to linger, closing sends RST and not FIN.
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def proxy(upstream: int) -> Generator[Proxy]:
    """Run a proxy before a local port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    found = Proxy(port=0, upstream=upstream)
    # Room for a commit's whole head; bodies are read by their length.
    start = asyncio.start_server(found.serve, LOOPBACK, 0, limit=1 << 20)
    server = asyncio.run_coroutine_threadsafe(start, loop).result()
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
