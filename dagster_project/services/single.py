"""A local service that is one process on one port: noted in a file from command to command, started again where it died."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services import daemon
from dagster_project.services.daemon import Daemon
from dagster_project.services.lock import exclusive
from dagster_project.services.ports import free_port, is_free
from dagster_project.services.whole import write_whole

_STOP_SECONDS = 15.0
_RETRY_SECONDS = 0.05
_LOCK_SECONDS = 180.0  # longer than a first start of any of them takes


@dataclass(frozen=True, kw_only=True)
class Single:
    """One service of a home.

    Attributes:
        title: as people call it.
        folder: its own; its note and its log are there, by its name.
        marker: the argument of its command line that no other process has.
        kept: what of it outlives a damaged note.
    """

    title: str
    folder: Path
    marker: str
    kept: str

    @property
    def note(self) -> Path:
        return self.folder / f"{self.folder.name}.json"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.folder.name}.log"

    def noted(self) -> tuple[int, Daemon | None]:
        """Its last port, 0 if it never had one; and the process that was started and not stopped, alive or not.

        Raises:
            ServiceError: the note is damaged.
        """
        try:
            content = json.loads(self.note.read_bytes())
            port, pid = int(content["port"]), content.get("pid")
            if pid is None:
                return port, None
            return port, Daemon(pid=int(pid), created=float(content["created"]), marker=self.marker)
        except FileNotFoundError:
            return 0, None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError(
                f"{self.note} is damaged ({type(error).__name__}: {error})",
                expected="the state that `lakehouse up` writes",
                remedy=f"delete that file and run `lakehouse up`: {self.kept}",
            ) from error

    def running(self) -> Daemon | None:
        """Its process, if it runs.

        Raises:
            ServiceError: as of `noted`.
        """
        _, noted = self.noted()
        return noted if noted is not None and noted.is_running else None

    def up(self, start: Callable[[int], None]) -> None:
        """Start it unless it runs.

        Args:
            start: does so, on a port.
        """
        with self._exclusive():
            if self.running() is None:
                self._start(start)

    def revive(self, start: Callable[[int], None], *, report: Callable[[str], None]) -> None:
        """Start it again if it has died. One that was never started, or was stopped, stays so."""
        if not self._has_died():
            return
        with self._exclusive():
            if self._has_died():  # nobody has stopped or started it meanwhile
                report("it has died; starting it again")
                self._start(start)

    def down(self) -> None:
        """Stop it."""
        if self.note.exists():
            with self._exclusive():
                self._end()
                self._save(self.noted()[0], None)

    def launch(
        self,
        command: Sequence[str],
        port: int,
        *,
        environment: Mapping[str, str],
        answers: Callable[[], bool],
        patience: float,
    ) -> None:
        """Start its process and wait until it answers; on any failure, Ctrl-C too, none is left.

        Raises:
            ServiceError: it has ended, or does not answer in time.
        """
        self._end()  # one that we lost track of
        try:
            started = daemon.spawn(command, marker=self.marker, log=self.log, environment=environment)
            self._save(port, started)
            deadline = time.monotonic() + patience
            while not answers():
                if not started.is_running or time.monotonic() > deadline:
                    late = f"does not answer after {patience:.0f} s" if started.is_running else "ended while it started"
                    raise ServiceError(
                        f"the {self.title} {late}", remedy=f"read {self.log}, then run `lakehouse up` again"
                    )
                time.sleep(_RETRY_SECONDS)
        except BaseException:
            self._end()
            raise

    def _start(self, start: Callable[[int], None]) -> None:
        # Where it was, if that can be: clients know the address.
        port, _ = self.noted()
        start(port if port and is_free(port) else free_port())

    def _has_died(self) -> bool:
        _, noted = self.noted()
        return noted is not None and not noted.is_running

    def _end(self) -> None:
        if found := daemon.find(self.marker):
            daemon.stop([found], patience=_STOP_SECONDS)

    def _save(self, port: int, started: Daemon | None) -> None:
        process = {} if started is None else {"pid": started.pid, "created": started.created}
        write_whole(self.note, json.dumps({"port": port, **process}) + "\n")

    def _exclusive(self) -> AbstractContextManager[None]:
        return exclusive(self.folder / "lock", patience=_LOCK_SECONDS)
