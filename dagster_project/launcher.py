"""Launches runs as Dagster does by itself, and can tell whether a run's process is still there.

A code server watches the processes of its runs. When the server itself goes, nobody does: the run would count as
started for ever and keep the pool of its table. Dagster's daemon asks here every few seconds.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress

import psutil
from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

# A server on the same machine answers in milliseconds; the daemon asks for each run in turn, so none may take long.
_ANSWER_S = 3
# A server that is started again answers after some 5 to 10 s, and then says itself that it does not know the run.
# Beyond that it will not come back soon, and the run's table should not wait for it.
_GRACE_S = 20.0
# What Python gives to the processes that `multiprocessing` spawns, as the code server does for a run.
_CHILD = "--multiprocessing-fork"
# Ingest ends by itself after 60 s and one batch, catching up likewise, and both then tell the UI for up to a minute.
# What runs for longer hangs. Work is committed batch by batch: a run that is ended costs the batch in its hands.
BOUNDED = {"dagster/max_runtime": "300"}
# Accounting reads every coordinate and keeps nothing if it is ended: millions of rows a minute, so a hundred million.
BOUNDED_ACCOUNTING = {"dagster/max_runtime": "3600"}


class CheckedRunLauncher(DefaultRunLauncher):
    """Runs are children of the code server, as by default, and their health can be asked for."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._silent: dict[str, float] = {}  # by run that did not look well, since when

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that started the run whether it still has it; end a process that it no longer has."""
        if GRPC_INFO_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "the run does not say which code server started it")
        try:
            known = _knows(json.loads(run.tags[GRPC_INFO_TAG]), run.run_id)
        except DagsterUserCodeUnreachableError:
            since = self._silent.setdefault(run.run_id, time.monotonic())
            if time.monotonic() - since < _GRACE_S:
                return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer")
            return self._gone(run, f"the code server has not answered for {_GRACE_S:.0f} s")
        if not known:
            return self._gone(run, "the code server was started anew since, and does not have it")
        self._silent.pop(run.run_id, None)
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _gone(self, run: DagsterRun, why: str) -> CheckRunHealthResult:
        """End the process, if there still is one.

        It would do no harm, for its commits would be refused as stale; but it would do the work of the next run twice.
        """
        self._silent.pop(run.run_id, None)
        if (worker := _worker(run.run_id)) is not None:
            _kill(worker)
            why += f"; its process {worker.pid} was ended"
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, why)


def _worker(run_id: str) -> psutil.Process | None:
    """The run's process, if it is on this machine and alive.

    Known by the run's files that it has open, its captured output for one. Dagster's event log would name it, but a
    process that was stopped while it wrote there keeps the log locked.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended meanwhile, or is another user's
            # The daemon and the UI read these files too.
            if _CHILD in process.cmdline() and any(run_id in file.path for file in process.open_files()):
                return process
    return None


def _kill(worker: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        worker.kill()


def _knows(info: dict[str, object], run_id: str) -> bool:
    """Whether the code server still has the run.

    Raises:
        DagsterUserCodeUnreachableError: it does not answer.
    """
    port, path = info.get("port"), info.get("socket")
    client = DagsterGrpcClient(
        host=str(info.get("host", "localhost")),
        port=port if isinstance(port, int) else None,
        socket=path if isinstance(path, str) else None,
        use_ssl=bool(info.get("use_ssl", False)),
    )
    answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=_ANSWER_S)
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel
