"""A background process that outlives the command that started it, told from strangers by more than its number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from dagster_project.errors import ServiceError

# A process's start is derived from the clock, which may be set while it runs. A pid is not used again so soon.
_CLOCK_STEP_SECONDS = 60.0
# Too short for a person to notice, long enough not to keep the processor from the one that is waited for.
_MOMENT_SECONDS = 0.001
_POLL_SECONDS = 0.02
# After SIGKILL only the kernel has work left.
_KILL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A process that was started here.

    Attributes:
        pid: its number, which the system gives to another process some time after its end.
        created: when it started, in Unix seconds.
        marker: an argument of its command line that no other process has.
    """

    pid: int
    created: float
    marker: str

    @property
    def is_running(self) -> bool:
        return _process(self) is not None


def spawn(command: Sequence[str], *, marker: str, log: Path, environment: Mapping[str, str]) -> Daemon:
    """Start a process in a session of its own, so that a Ctrl-C meant for us does not reach it.

    Args:
        marker: the argument of `command` by which to know the process again.
        log: takes its output from now on; the one before is kept as `<log>.1`.
    """
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    log.parent.mkdir(parents=True, exist_ok=True)
    # Not subprocess.Popen: that one is meant to be waited for.
    pid = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    process = psutil.Process(pid)
    started = Daemon(pid=pid, created=process.create_time(), marker=marker)
    with suppress(psutil.Error):  # it has ended already
        while not process.cmdline():  # which the system shows a moment after the start
            time.sleep(_MOMENT_SECONDS)
    return started


def find(marker: str) -> Daemon | None:
    """The running process that has `marker` as an argument: one whose starter was killed before it took a note."""
    for process in psutil.process_iter():
        try:
            if marker in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return Daemon(pid=process.pid, created=process.create_time(), marker=marker)
        except psutil.Error:  # gone meanwhile, or another user's
            continue
    return None


def stop(daemons: Sequence[Daemon], *, patience: float) -> None:
    """End processes together: SIGTERM, then SIGKILL for those still there after `patience` seconds (0: at once).

    Raises:
        ServiceError: not even SIGKILL ends one.
    """
    running = [daemon for daemon in daemons if daemon.is_running]
    if patience > 0:
        running = _signalled(running, signal.SIGTERM, patience=patience)
    running = _signalled(running, signal.SIGKILL, patience=_KILL_SECONDS)
    for daemon in daemons:
        with suppress(ChildProcessError):  # not a child of ours: not for us to clear away
            os.waitpid(daemon.pid, os.WNOHANG)
    if running:
        raise ServiceError(
            f"process {running[0].pid} does not end, even by SIGKILL",
            remedy="find out what it waits for, such as a disk: `ps -o pid,stat,wchan:30,args`",
        )


def _signalled(daemons: Sequence[Daemon], number: signal.Signals, *, patience: float) -> list[Daemon]:
    """Send a signal and wait; returns those that still run.

    Not with `psutil.wait_procs`, which waits on for a process that has ended until its parent takes note.
    """
    for daemon in daemons:
        if process := _process(daemon):
            with suppress(psutil.NoSuchProcess):  # ended this moment
                process.send_signal(number)
    deadline = time.monotonic() + patience
    while running := [daemon for daemon in daemons if daemon.is_running]:
        if time.monotonic() > deadline:
            return running
        time.sleep(_POLL_SECONDS)
    return []


def _process(daemon: Daemon) -> psutil.Process | None:
    """The live process, or `None` where it has ended or its pid now belongs to another."""
    try:
        process = psutil.Process(daemon.pid)
        if process.status() == psutil.STATUS_ZOMBIE or daemon.marker not in process.cmdline():
            return None
        return process if abs(process.create_time() - daemon.created) < _CLOCK_STEP_SECONDS else None
    except psutil.Error:  # gone meanwhile, or another user's
        return None
