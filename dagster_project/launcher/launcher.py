"""Launches a run in less than a second, knows whether its process is still there, and fails it at once if not.

By default a run's process imports Dagster anew, for two seconds and more, and is lost sight of when its code server goes
away: it would count as started for ever and keep the pool of its table. Here a server of forks that has Dagster imported
stands ready beside the daemon, and a run's process holds a lock that outlives whoever started it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

from dagster import DagsterRun, DagsterRunStatus, Field
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from dagster_project.launcher import worker
from dagster_project.launcher.forks import FORKS
from dagster_project.services.lock import holder

# A run that is asked to end finishes what it is writing, which takes no longer than this unless it hangs.
_END_S = 5.0
_LOOK_S = 0.05


class ForkingRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Forks runs off a process that has Dagster imported. Needs runs to be queued, so that the daemon launches them all.

    Attributes:
        drain: a daemon that ends waits for its runs, which others may have to bound; otherwise it ends them.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None, *, drain: bool = False) -> None:
        super().__init__()
        self._inst_data = inst_data
        self.drain = drain

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"drain": Field(bool, is_required=False, default_value=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        assert run.job_code_origin is not None
        arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref())
        process = FORKS.Process(
            target=worker.execute,
            args=(serialize_value(arguments), self.mark(run.run_id)),
            daemon=not self.drain,  # whether it ends with the daemon or the daemon waits for it
        )
        process.start()
        threading.Thread(target=self._watch, args=(run.run_id, process), daemon=True).start()

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a process holds the run's lock; it may have been started by a daemon that is gone since."""
        pid = holder(self.mark(run.run_id))
        if pid is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))

    def terminate(self, run_id: str) -> bool:
        """Ask the run to end, and end it if it does not."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if (pid := holder(self.mark(run_id))) is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _END_S
            while holder(self.mark(run_id)) == pid:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)  # it hangs, or is stopped, perhaps with a lock on Dagster's storage
                    break
                time.sleep(_LOOK_S)
        self._close(run_id, f"its process {pid} was ended")
        return True

    def mark(self, run_id: str) -> Path:
        """The file that the run's process holds."""
        return Path(self._instance.root_directory) / "processes" / run_id

    def _watch(self, run_id: str, process: ForkServerProcess) -> None:
        process.join()
        self.mark(run_id).unlink(missing_ok=True)
        self._close(run_id, f"its process {process.pid} ended with code {process.exitcode}")

    def _close(self, run_id: str, why: str) -> None:
        """End the run's record where its process could not."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        if run.status is DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, why)
        else:
            self._instance.report_run_failed(run, why)
