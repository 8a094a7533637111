from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
# A system that tells in a file what it has done, and chatters as libraries do.
SYSTEM = """
import os
from benchmarks.peers.protocol import serve

def prepare(task):
    print("a library prints")
    os.system("echo so does its child")
    def drain():
        print("and prints again")
        (task.out / "drained").touch()
        return {"rows_bronze": sum(task.end.values())}
    return drain

serve(prepare)
"""


@contextmanager
def running(folder: Path) -> Generator[subprocess.Popen[str]]:
    (folder / "end.json").write_text(json.dumps({"0": 3, "1": 4}))
    arguments = ["--servers", "nowhere:1", "--topic", "t", "--end", str(folder / "end.json"), "--out", str(folder)]
    with subprocess.Popen(
        [sys.executable, "-c", SYSTEM, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_a_system_drains_only_after_go_and_lives_until_nobody_asks_any_more(tmp_path: Path) -> None:
    with running(tmp_path) as child:
        assert child.stdin is not None
        assert line(child) == "ready"
        assert not (tmp_path / "drained").exists()
        child.stdin.write("go\n")
        child.stdin.flush()
        assert json.loads(line(child)) == {"rows_bronze": 7}
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.2)
        child.stdin.close()
        assert child.wait(timeout=10) == 0


def test_a_system_that_nobody_starts_drains_nothing_and_fails(tmp_path: Path) -> None:
    with running(tmp_path) as child:
        assert child.stdin is not None
        assert line(child) == "ready"
        child.stdin.close()
        assert child.wait(timeout=10) == 1
        assert not (tmp_path / "drained").exists()
