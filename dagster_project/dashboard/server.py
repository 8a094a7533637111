"""Serving the page until Ctrl-C."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn

from dagster_project.contract.model import Catalog
from dagster_project.dashboard.access import Access
from dagster_project.dashboard.app import application
from dagster_project.dashboard.board import Board
from dagster_project.dashboard.watch import EVERY_S, Watch
from dagster_project.errors import ServiceError
from dagster_project.settings import Settings

# Streams of events end by themselves when they are told to; what hangs is cut off.
_LAST_WORDS_S = 2


class _Server(uvicorn.Server):
    """Sends viewers away when it is told to end, instead of waiting for them to go."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._board.close()
        super().handle_exit(sig, frame)


def serve(catalog: Catalog, *, settings: Settings, access: Access, port: int) -> None:
    """Serve the page.

    Raises:
        ServiceError: the port is taken, or the address is not this machine's.
    """
    listening = listen(access.host, port)
    board = Board()
    app = application(Watch(catalog, settings=settings), access=access, board=board, every_s=EVERY_S)
    config = uvicorn.Config(
        app,
        loop="asyncio",  # a few hundred viewers need no faster one, and the same code runs everywhere
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_WORDS_S,
        # What a proxy says of where a request is from is anybody's word.
        proxy_headers=False,
        ssl_certfile=access.certificate,
        ssl_keyfile=access.key,
    )
    with listening:
        _Server(config, board).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket of an address.

    Raises:
        ServiceError: the port is taken, or the address is not this machine's.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise ServiceError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            expected="an address of this machine and a free port",
            remedy="choose another --port, or stop what listens there",
        ) from error
