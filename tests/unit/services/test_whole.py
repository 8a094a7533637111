"""Whoever reads a file while it is written has the one or the other, never a part."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from dagster_project.services.whole import write_whole


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.json"
    texts = [json.dumps({"n": number, "long": "x" * 200_000}) for number in range(2)]
    write_whole(path, texts[0])
    done = threading.Event()

    def write() -> None:
        for number in range(200):
            write_whole(path, texts[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_text() in texts
    writer.join()
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_nobody_else_may_read_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "password"
    write_whole(path, "old")
    write_whole(path, "secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "secret"


def test_what_cannot_be_written_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
