"""A web server and a mail server that keep what they are sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class Web:
    """A web server.

    Attributes:
        status: what it answers.
        got: path, headers and body of each request.
    """

    port: int = 0
    status: int = 200
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def web() -> Generator[Web]:
    receiver = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, dict(self.headers), body))
            self.send_response(receiver.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"no such channel" if receiver.status >= 400 else b"ok")

        do_GET = do_POST  # noqa: N815 the library's name; a redirect that is followed would come as one

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(kw_only=True)
class Mail:
    """A mail server.

    Attributes:
        refuses: recipients that it does not know.
        logins: user and password, as AUTH PLAIN has them.
    """

    port: int = 0
    refuses: set[str] = field(default_factory=set)
    logins: list[str] = field(default_factory=list)
    got: list[tuple[list[str], EmailMessage]] = field(default_factory=list)


@contextmanager
def mail() -> Generator[Mail]:
    receiver = Mail()
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to: list[str] = []
        writer.write(b"220 test\r\n")
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    writer.write(b"250-test\r\n250 AUTH PLAIN\r\n")
                case "AUTH":
                    receiver.logins.append(rest)
                    writer.write(b"235 welcome\r\n")
                case "RCPT":
                    address = rest.partition("<")[2].partition(">")[0]
                    known = address not in receiver.refuses
                    to += [address] if known else []
                    writer.write(b"250 ok\r\n" if known else b"550 nobody of that name\r\n")
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    parsed = message_from_bytes(content[:-5], policy=policy.default)
                    assert isinstance(parsed, EmailMessage)
                    receiver.got.append((list(to), parsed))
                    writer.write(b"250 ok\r\n")
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 ok\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def serve() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        receiver.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stopped.wait()

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
