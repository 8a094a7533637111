"""Our daemon is Dagster's, which looks at its sensors more often."""

import os
import subprocess
import sys
import time
from pathlib import Path

from dagster_project.launcher.daemon import lock
from dagster_project.services.lock import exclusive
from dagster_project.settings import Settings

_PROGRAM = """
import sys
from dagster._daemon import cli, sensor

before = sensor.MIN_INTERVAL_LOOP_TIME
cli.main = lambda: print(before, sensor.MIN_INTERVAL_LOOP_TIME)

from dagster_project.launcher import daemon, forks

forks.start = lambda: None
sys.argv[1:] = ["run"]
daemon.main()
"""

# It has imported Dagster by then; if it has not, the test proves less and passes all the same.
_READY_S = 5.0


def daemon(home: Path) -> subprocess.Popen[str]:
    variables = {**os.environ, "LAKEHOUSE_HOME": str(home)}
    return subprocess.Popen([sys.executable, "-c", _PROGRAM], env=variables, stdout=subprocess.PIPE, text=True)


def test_the_daemon_looks_at_its_sensors_more_often_than_dagsters_own(tmp_path: Path) -> None:
    # A process of its own: the constant is Dagster's, and it is read by the loop that the daemon runs.
    with daemon(tmp_path) as process:
        said = process.communicate()[0].split()
    theirs, ours = (int(seconds) for seconds in said)
    assert ours < theirs


def test_a_second_daemon_waits_until_the_first_one_has_let_go(tmp_path: Path) -> None:
    held = lock(Settings.from_environment({"LAKEHOUSE_HOME": str(tmp_path)}))
    with exclusive(held, patience=0):
        process = daemon(tmp_path)
        time.sleep(_READY_S)
        assert process.poll() is None
    said, _ = process.communicate()

    assert said
    assert process.returncode == 0


def test_dagsters_loop_reads_the_constant_each_time() -> None:
    from dagster._daemon import sensor

    assert "MIN_INTERVAL_LOOP_TIME" in sensor.execute_sensor_iteration_loop.__code__.co_names
