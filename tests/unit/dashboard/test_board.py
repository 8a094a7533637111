"""Viewers get what changed since they last heard of something, and it is spelled once for all of them."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
from collections.abc import Mapping
from typing import Any

import pytest

from dagster_project.dashboard.board import Board, spelled
from dagster_project.dashboard.viewers import Viewers

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def publish(board: Board, **sections: object) -> None:
    board.publish({name: spelled(value) for name, value in sections.items()}, at=NOW)


def sections(content: bytes) -> Mapping[str, Any]:
    return json.loads(content)["sections"]


def test_each_gets_what_changed_since() -> None:
    board = Board()
    publish(board, a=1, b=1)
    first = board.event_id
    publish(board, a=2, b=1)
    publish(board, a=2, b=1)
    assert sections(board.content()) == {"a": 2, "b": 1}
    assert sections(board.content(board.seen(first))) == {"a": 2}
    assert sections(board.content(board.seen(board.event_id))) == {}


@pytest.mark.parametrize("event_id", ["", "other-1", "1", "-", "x-y", "boot-"])
def test_whoever_comes_from_elsewhere_gets_all(event_id: str) -> None:
    board = Board()
    publish(board, a=1)
    assert board.seen(event_id) == 0
    assert board.seen(f"{board.event_id.partition('-')[0]}-x") == 0


def test_a_message_is_spelled_once() -> None:
    board = Board()
    publish(board, a=1)
    assert board.message(0) is board.message(0)
    head, _, data = board.message(0).decode().partition("data: ")
    assert head == f"id: {board.event_id}\nevent: look\n"
    assert data.endswith("\n\n")
    assert "\n" not in data.strip()


def test_what_json_has_no_form_for() -> None:
    value = {"at": NOW, "exact": decimal.Decimal("1.10"), "none": float("nan"), "many": float("inf"), "text": "ä\n"}
    assert json.loads(spelled(value)) == {
        "at": "2026-01-01T12:00:00.000Z",
        "exact": "1.10",
        "none": None,
        "many": None,
        "text": "ä\n",
    }
    with pytest.raises(TypeError):
        spelled(object())


class Line:
    """A viewer's end of the line."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.bodies: list[bytes] = []
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            if not self.takes:
                await asyncio.sleep(60)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(0.01)


def test_viewers_hear_of_each_change_and_who_is_slow_skips_what_was_between() -> None:
    async def course() -> None:
        board = Board()
        viewers = Viewers(board, most=2)
        publish(board, a=0)
        line = Line()
        task = asyncio.create_task(viewers.stream("")({}, line.receive, line.send))
        await _until(lambda: line.bodies)
        assert viewers.count == 1
        for number in range(1, 4):  # at once: a viewer hears of the last alone
            publish(board, a=number)
        await _until(lambda: len(line.bodies) == 2)
        assert b'{"a":3}' in line.bodies[-1]
        late = Line()
        other = asyncio.create_task(viewers.stream(board.event_id)({}, late.receive, late.send))
        await _until(lambda: viewers.is_full)
        publish(board, b=1)
        await _until(lambda: late.bodies)
        assert b'"sections":{"b":1}' in late.bodies[0]
        line.gone.set()
        await task
        board.close()
        await other
        assert viewers.count == 0

    asyncio.run(course())


def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_project.dashboard.viewers._TAKE_S", 0.05)

    async def course() -> None:
        board = Board()
        viewers = Viewers(board, most=1)
        publish(board, a=0)
        stuck = Line(takes=False)
        async with asyncio.timeout(20):
            await viewers.stream("")({}, stuck.receive, stuck.send)
        assert viewers.count == 0

    asyncio.run(course())


def test_in_silence_there_are_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_project.dashboard.viewers._BEAT_S", 0.02)

    async def course() -> None:
        board = Board()
        publish(board, a=0)
        line = Line()
        task = asyncio.create_task(Viewers(board, most=1).stream(board.event_id)({}, line.receive, line.send))
        await _until(lambda: len(line.bodies) > 2)
        assert set(line.bodies) == {b"event: beat\ndata: {}\n\n"}
        board.close()
        await task

    asyncio.run(course())
