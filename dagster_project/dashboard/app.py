"""The page as a web application: its files, one document of all sections, and the stream of what changes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from dagster_project.dashboard.access import COOKIE, SESSION_S, Access, Guard, own_site
from dagster_project.dashboard.board import Board
from dagster_project.dashboard.files import files
from dagster_project.dashboard.pages import document
from dagster_project.dashboard.viewers import Stream, Viewers

# Several times what is promised; at two seconds and some kilobytes each this is still little for a server.
_MOST_VIEWERS = 1_000
# A form with a token in it, and nothing else, is ever sent here.
_MOST_BYTES = 4_096


class Watching(Protocol):
    """What the sections come from."""

    def start(self) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...
    def sections(self) -> Mapping[str, bytes]: ...


def application(watch: Watching, *, access: Access, board: Board, every_s: float) -> Starlette:
    """The application.

    Args:
        watch: is started and stopped with the application.
        board: what viewers see of it; closing it sends them away.
        every_s: seconds between two looks, however many watch.
    """
    page = _Page(watch, access=access, board=board, every_s=every_s)
    return Starlette(
        routes=[
            Route("/", page.index),
            Route("/static/{name}", page.static),
            Route("/api/snapshot", page.snapshot),
            Route("/api/events", page.events),
            Route("/docs/{path:path}", page.document),
            Route("/login", page.login_form, methods=["GET"]),
            Route("/login", page.login, methods=["POST"]),
            Route("/logout", page.logout, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, access=access)],
        lifespan=page.lifespan,
        max_body_size=_MOST_BYTES,
    )


class _Page:
    def __init__(self, watch: Watching, *, access: Access, board: Board, every_s: float) -> None:
        self._watch = watch
        self._access = access
        self._board = board
        self._every_s = every_s
        self._viewers = Viewers(board, most=_MOST_VIEWERS)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        self._watch.start()
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._watch.stop()
            self._board.close()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        while True:
            began = time.monotonic()
            if self._viewers.count:
                self._watch.wake()
            # In a thread: to spell some hundred kilobytes takes milliseconds, in which no viewer is to wait.
            sections = await asyncio.to_thread(self._watch.sections)
            self._board.publish(sections, at=dt.datetime.now(dt.UTC))
            await asyncio.sleep(max(0.0, began + self._every_s - time.monotonic()))

    async def index(self, request: Request) -> Response:
        self._watch.wake()
        return files()["index.html"].answer(request.headers)

    async def static(self, request: Request) -> Response:
        file = files().get(request.path_params["name"])
        return PlainTextResponse("no such file\n", status_code=404) if file is None else file.answer(request.headers)

    async def document(self, request: Request) -> Response:
        return await asyncio.to_thread(document, request.path_params["path"])

    async def snapshot(self, _: Request) -> Response:
        self._watch.wake()
        await self._board.after(0, seconds=self._every_s)
        return Response(self._board.content(), media_type="application/json")

    async def events(self, request: Request) -> Response | Stream:
        if self._viewers.is_full:
            return PlainTextResponse("too many viewers\n", status_code=503, headers={"retry-after": "10"})
        self._watch.wake()
        # A browser that reconnects by itself names the last event; a page that goes on after a pause says it in the address.
        event_id = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return self._viewers.stream(event_id)

    async def login_form(self, request: Request) -> Response:
        return files()["login.html"].answer(request.headers)

    async def login(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode(errors="replace"))
        if not own_site(request.headers) or not self._access.is_token(form.get("token", [""])[0]):
            return RedirectResponse("/login#refused", status_code=303)
        answer = RedirectResponse("/", status_code=303)
        session = self._access.session(now=time.time())
        secure = self._access.is_private or request.url.scheme == "https"
        answer.set_cookie(COOKIE, session, max_age=SESSION_S, httponly=True, samesite="strict", secure=secure)
        return answer

    async def logout(self, _: Request) -> Response:
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer
