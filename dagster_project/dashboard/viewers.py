"""Those who watch: each gets what changed since it last heard of something, as server-sent events."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from dagster_project.dashboard.board import Board

# A page that hears nothing for some seconds tells its reader that it does not.
_BEAT_S = 5.0
# Who does not take an event for so long is cut off; a browser comes back by itself, and gets what it has missed.
_TAKE_S = 10.0
_BEAT = b"event: beat\ndata: {}\n\n"


class Viewers:
    """All open streams of events.

    Args:
        most: more are turned away: each holds a connection and a few kilobytes.
    """

    def __init__(self, board: Board, *, most: int) -> None:
        self._board = board
        self._most = most
        self.count = 0

    @property
    def is_full(self) -> bool:
        return self.count >= self._most

    def stream(self, event_id: str) -> Stream:
        """A response for a viewer who has seen an event."""
        return Stream(self, self._board, event_id)


class Stream:
    """One viewer's response."""

    def __init__(self, viewers: Viewers, board: Board, event_id: str) -> None:
        self._viewers = viewers
        self._board = board
        self._seen = board.seen(event_id)

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        self._viewers.count += 1
        gone = asyncio.ensure_future(_gone(receive))
        work = asyncio.ensure_future(self._send(send))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._viewers.count -= 1
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not self._board.closed:
            news = await self._board.after(self._seen, seconds=_BEAT_S)
            body = self._board.message(self._seen) if news else _BEAT
            self._seen = self._board.number
            async with asyncio.timeout(_TAKE_S):
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
