"""The release state of a dataset: one of several writers gets each number, and a lost answer is looked up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dagster_project.errors import StaleCursorError
from dagster_project.lake.releases import Release, move, newest
from dagster_project.lake.storage import Storage

FIRST = Release(number=0, serves=1, written=(1,))


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert newest("orders", storage=Storage.at(str(tmp_path))) is None


def test_of_many_at_once_one_moves_it_and_the_others_are_told(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))

    def attempt(serves: int) -> Release | None:
        try:
            return move(FIRST, name="orders", serves=serves, written=(1, 2), action="promote", storage=storage)
        except StaleCursorError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [release for release in pool.map(attempt, range(16)) if release is not None]
    assert len(made) == 1
    assert newest("orders", storage=storage) == made[0]


def test_an_answer_that_was_lost_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage.at(str(tmp_path))
    create = Storage.create

    def lossy(self: Storage, path: str, content: bytes) -> None:
        create(self, path, content)
        raise TimeoutError

    monkeypatch.setattr(Storage, "create", lossy)
    made = move(FIRST, name="orders", serves=2, written=(1, 2), action="promote", storage=storage)
    assert newest("orders", storage=storage) == made


def test_all_that_was_stays_readable(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    started = move(FIRST, name="orders", serves=1, written=(1, 2), action="start", storage=storage)
    move(started, name="orders", serves=2, written=(1, 2), action="promote", storage=storage)
    assert sorted(path.name for path in (tmp_path / "releases" / "orders").iterdir()) == [
        "00000001.json",
        "00000002.json",
    ]
