"""One process that is started again when it dies, and given up when it dies again and again."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services.guard import SUPERVISED

# The first restart is immediate: a killed process is no evidence of a lasting fault. Each further quick death doubles
# the wait.
_BACKOFF_SECONDS = 0.5
# Dagster's processes take some 5 s to start, several times that on a busy machine: one that lived for longer than this
# had started, and its death is a new trouble.
_QUICK_SECONDS = 60.0
# As many quick deaths in a row are no accident: with the waits between them half a minute has gone.
_GIVE_UP = 5
# The daemon ends its loops within a few seconds; the code server may ignore SIGTERM.
_STOP_SECONDS = 10.0
_LAST_LINES = 20


class Service:
    """A process with a log of its own, `<logs>/<name>.log`.

    Attributes:
        grace: how many seconds it has to end when it is asked to.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        logs: Path,
        grace: float = _STOP_SECONDS,
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._book = logs / "supervisor.log"
        self._command = list(command)
        self._environment = {**environment, **SUPERVISED}
        self.grace = grace
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._due: float | None = None
        self._quick_deaths = 0

    @property
    def pid(self) -> int:
        """The newest process, alive or not.

        Raises:
            ServiceError: it was never started.
        """
        if self._process is None:
            raise ServiceError(f"{self.name} was never started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """What the newest process ended with, if it has."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches us, and we end the processes in order.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,  # whose other end is closed when we are gone
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started = time.monotonic()
        self._due = None

    def tend(self) -> None:
        """Start the process again if it died and its wait is over; returns at once.

        Raises:
            ServiceError: it died too often.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return
        self._let_go()
        now = time.monotonic()
        if self._due is None:
            self._quick_deaths = self._quick_deaths + 1 if now - self._started < _QUICK_SECONDS else 1
            if self._quick_deaths >= _GIVE_UP:
                self._note(f"died with code {code} for the {self._quick_deaths}th time in a row: given up")
                raise ServiceError(
                    f"{self.name} has died {self._quick_deaths} times in a row, last with code {code}; "
                    + self.last_words(),
                    expected=f"Dagster's processes to live for longer than {_QUICK_SECONDS:.0f} s",
                    remedy=f"read {self.log}, mend what it names, and start again",
                )
            wait = 0.0 if self._quick_deaths == 1 else _BACKOFF_SECONDS * 2.0 ** (self._quick_deaths - 2)
            self._due = now + wait
            self._note(f"process {self.pid} died with code {code}; starting again in {wait:.1f} s")
        if now >= self._due:
            self.start()
            self._note(f"started again as process {self.pid}")

    def stop(self) -> None:
        """End it; harmless where it has ended or was never started."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self.grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Its session is its own: whom it started and left behind, such as the process that runs are forked off.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._let_go()

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"the end of {self.log}:\n" + "\n".join(lines[-_LAST_LINES:])

    def _let_go(self) -> None:
        """Close our end of the pipe to a process that has ended."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _note(self, what: str) -> None:
        note(self._book, self.name, what)


def note(book: Path, name: str, what: str) -> None:
    """Write down a death or a start."""
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    with book.open("a", encoding="utf-8") as file:
        file.write(f"{moment} {name}: {what}\n")
