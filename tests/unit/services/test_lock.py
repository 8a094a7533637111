"""One command at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.errors import ServiceError
from dagster_project.services.lock import exclusive

HOLD = """
import sys, time
from pathlib import Path
from dagster_project.services.lock import exclusive
with exclusive(Path(sys.argv[1]), patience=0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "services" / "lock"
    with (
        exclusive(path, patience=0),
        pytest.raises(ServiceError, match=f"process {os.getpid()} has held"),
        exclusive(path, patience=0.2),
    ):
        pass
    with exclusive(path, patience=0):
        pass


def test_a_lock_ends_with_its_holder_even_when_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ServiceError, match=f"process {holder.pid} has held"),
            exclusive(tmp_path / "lock", patience=0),
        ):
            pass
        holder.kill()
    with exclusive(tmp_path / "lock", patience=5):
        pass
