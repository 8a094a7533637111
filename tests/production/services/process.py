"""A server that lives as long as a `with` block."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dagster_project.services.ports import free_port

# On a busy machine a JVM takes half of it.
_START_SECONDS = 90.0
_STOP_SECONDS = 15.0
_RETRY_SECONDS = 0.05
_LOG_LINES = 30


class ServerError(RuntimeError):
    """It has not come up."""


@contextmanager
def serving(
    command: Sequence[str],
    *,
    log: Path,
    answers: Callable[[], bool],
    environment: Mapping[str, str],
    executable: str | None = None,
    user: int | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Start a server and wait until it answers; it has ended on return, whatever happened.

    Args:
        executable: the program, where the first word of the command is only what it is called by.
        user: to run as.

    Raises:
        ServerError: it has ended, or does not answer in time.
    """
    process = start(command, log=log, environment=environment, executable=executable, user=user)
    try:
        wait_until(answers, [process], log=log)
        yield process
    finally:
        stop(process)


def start(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    executable: str | None = None,
    user: int | None = None,
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            executable=executable,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
            start_new_session=True,  # a Ctrl-C is for the test, which then stops it
        )


def wait_until(answers: Callable[[], bool], processes: Sequence[subprocess.Popen[bytes]], *, log: Path) -> None:
    """Raises: ServerError: one has ended, or there is no answer in time."""
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        ended = any(process.poll() is not None for process in processes)
        if ended or time.monotonic() > deadline:
            lines = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
            raise ServerError(f"{'ended while it started' if ended else 'does not answer'}; the end of {log}:\n{lines}")
        time.sleep(_RETRY_SECONDS)


def stop(process: subprocess.Popen[bytes], *, patience: float = _STOP_SECONDS) -> None:
    if process.poll() is None and patience:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found.append(free_port(taken=found))
    return found
