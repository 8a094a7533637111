"""What is measured is the drain, of the whole process tree, and nothing before it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.measure import DrainError, Measured, measure

REPOSITORY = Path(__file__).resolve().parents[3]
# A process that burns processor time, holds memory, and writes.
WORKER = """
import sys, time
seconds, mib, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
held = bytearray(mib << 20)
held[:: 4096] = b"x" * len(held[:: 4096])
open(out, "wb").write(b"x" * 1_000_000)
while time.process_time() < seconds:
    pass
time.sleep(0.4)
"""
# A system: burns 2 s before it is ready, and lets a child of a child burn 0.5 s in its drain.
SYSTEM = """
import subprocess, sys, time
worker, out = sys.argv[1:]
while time.process_time() < 2:
    pass
print("ready", flush=True)
sys.stdin.readline()
burn = [sys.executable, "-c", worker, "0.5", "200", out + "/file"]
command = [sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))", *burn]
child = subprocess.Popen(command)
if {wait}:
    child.wait()
else:
    while not subprocess.os.path.exists(out + "/file"):
        time.sleep(0.01)
    time.sleep(1.5)
print('{{"rows_bronze": 7}}', flush=True)
sys.stdin.read()
"""


def run(tmp_path: Path, system: str, *arguments: str, patience_s: float = 60.0) -> Measured:
    out = tmp_path / "out"
    out.mkdir()
    return measure(
        "toy",
        [sys.executable, "-c", system, *arguments, str(out)],
        out=out,
        log=tmp_path / "log",
        cwd=REPOSITORY,
        environment=os.environ,
        patience_s=patience_s,
    )


def test_children_that_ended_meanwhile_count_and_what_came_before_does_not(tmp_path: Path) -> None:
    found = run(tmp_path, SYSTEM.format(wait=True), WORKER)
    assert found.answer == {"rows_bronze": 7}
    # The rest are the starts of two interpreters, far less than the 2 s before.
    assert 0.5 <= found.cpu_s < 2.0
    assert found.wall_s >= 0.5
    assert found.peak_rss_mib >= 200
    assert found.output_bytes == 1_000_000


def test_children_that_live_on_count_and_are_ended(tmp_path: Path) -> None:
    found = run(tmp_path, SYSTEM.format(wait=False), WORKER.replace("time.sleep(0.4)", "time.sleep(600)"))
    assert 0.2 <= found.cpu_s < 2.0
    assert found.peak_rss_mib >= 200


def test_a_system_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(DrainError, match=r"(?s)toy ended with 1 .*no such thing as luck"):
        run(tmp_path, "import sys; print('ready', flush=True); sys.stdin.readline(); sys.exit('no such thing as luck')")


def test_a_system_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(DrainError, match="ended with -9"):
        run(tmp_path, "import time; time.sleep(600)", patience_s=1.0)


def test_a_system_that_says_something_else_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(DrainError, match="toy said 'hello'"):
        run(tmp_path, "print('hello', flush=True); input()")
