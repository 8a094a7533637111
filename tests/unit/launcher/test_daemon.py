"""Our daemon is Dagster's, which looks at its sensors more often."""

import subprocess
import sys

_PROGRAM = """
import time
from dagster._daemon import cli, sensor

before = sensor.MIN_INTERVAL_LOOP_TIME
cli.main = lambda: print(before, sensor.MIN_INTERVAL_LOOP_TIME)

from dagster_project.launcher import daemon, forks

forks.start = lambda: None
daemon.main()
"""


def test_the_daemon_looks_at_its_sensors_more_often_than_dagsters_own() -> None:
    # A process of its own: the constant is Dagster's, and it is read by the loop that the daemon runs.
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    theirs, ours = (int(seconds) for seconds in said)
    assert ours < theirs


def test_dagsters_loop_reads_the_constant_each_time() -> None:
    from dagster._daemon import sensor

    assert "MIN_INTERVAL_LOOP_TIME" in sensor.execute_sensor_iteration_loop.__code__.co_names
