"""A code location of which there are releases: a sensor that says which one it is, and a run that lasts until it may end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg

RELEASE = os.environ["RELEASE"]
# The run ends when this file is there.
DONE = Path(os.environ["RELEASE_DONE"])
_LONGEST_S = 240.0


@dg.op
def wait() -> None:
    deadline = time.monotonic() + _LONGEST_S
    while not DONE.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@dg.job(description=RELEASE)
def lasting() -> None:
    wait()


@dg.sensor(job=lasting, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def told(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    if context.cursor is None:
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key="once")], cursor=RELEASE)
    return dg.SensorResult(skip_reason=RELEASE, cursor=RELEASE)


defs = dg.Definitions(jobs=[lasting], sensors=[told], executor=dg.in_process_executor)
