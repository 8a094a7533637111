"""One tick: look, decide, write it down, tell. In this order, so that what is told is committed, and by one alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster_project.alerts import journal, local
from dagster_project.alerts.alert import Alert
from dagster_project.alerts.book import Book, Progress
from dagster_project.alerts.config import Config
from dagster_project.alerts.decide import Memory, Seen, decide, sighted
from dagster_project.alerts.deliver import Wanted, deliver, troubles
from dagster_project.alerts.local import Local
from dagster_project.contract.model import Catalog
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a tick did.

    Attributes:
        notes: what a person should know of the watch itself: sinks that fail, a state that is only here.
    """

    memory: Memory
    transitions: tuple[Alert, ...]
    open: tuple[Alert, ...]
    notes: tuple[str, ...]


def local_path(home: Path) -> Path:
    """Where a machine keeps the state of alerts while the lake does not answer."""
    return home / "alerts.json"


def watch(
    seen: Seen,
    *,
    storage: Storage | None,
    path: Path,
    catalog: Catalog,
    config: Config,
    memory: Memory,
    now: dt.datetime,
) -> Report:
    """Decide on what was seen, and tell of it.

    Args:
        storage: of the lake; `None` while its store does not answer.
        path: of the file that stands in for it.
    """
    desk = _Desk(storage=storage, path=path, sinks=tuple(config.sinks))
    seen, memory = sighted(seen, memory, now)
    decision = decide(desk.book.alerts, seen, memory, now)
    try:
        own = desk.write(decision.transitions, {})
    except StaleCursorError as error:
        return Report(memory=memory, transitions=(), open=desk.book.open, notes=(error.found,))
    moved = deliver(desk.book, own, config, wanted=wanted(catalog, config), now=now)
    notes = desk.notes
    if moved:
        try:
            desk.write((), moved)
        except StaleCursorError as error:  # whoever told the same sink has said so; the receiver knows the key
            notes.append(error.found)
    notes += troubles(desk.book.sinks)
    if memory.blind_until is not None:
        notes.append(
            f"nobody looked for a while, which burn rates count as bad: none is raised until {memory.blind_until:%H:%M} UTC"
        )
    if desk.storage is None:
        notes.append(f"the lake does not answer: what is decided is kept in {path}, until it does")
    return Report(memory=decision.memory, transitions=own, open=desk.book.open, notes=tuple(notes))


def wanted(catalog: Catalog, config: Config) -> Wanted:
    """Whether a sink is to hear of an alert, by its routes; of the whole platform's all hear that ask for no dataset."""
    contracts = {item.name: item for item in (*catalog.datasets, *catalog.marts)}
    contracts |= {item.table: item for item in catalog.successors}

    def decides(sink: str, alert: Alert) -> bool:
        contract = contracts.get(alert.scope.partition("/")[0])
        domain, owners = ("", ()) if contract is None else (contract.domain, contract.owners)
        return config.wants(sink, severity=alert.severity, domain=domain, owners=owners)

    return decides


class _Desk:
    """The state of alerts, in the lake or else on this machine, which keeps a copy for when it is needed.

    Attributes:
        storage: of the lake, where it is used.
        notes: what went wrong with keeping it.
    """

    def __init__(self, *, storage: Storage | None, path: Path, sinks: tuple[str, ...]) -> None:
        self.storage = storage
        self.notes: list[str] = []
        self._path = path
        self._local = local.load(path)
        self.book = self._of_lake(sinks) or self._local.book.using(sinks)

    def write(self, transitions: tuple[Alert, ...], sinks: Mapping[str, Progress]) -> tuple[Alert, ...]:
        """Add transitions, and how far sinks have got; returns the transitions as they were written.

        Raises:
            StaleCursorError: another one has decided, or told one of these sinks; nothing was written.
        """
        if not transitions and not sinks:
            return ()
        added = self.book.numbered(transitions)
        if self.storage is not None:
            try:
                self.book = journal.write(self.storage, self.book, added, sinks)
                self._keep(Local(book=self.book))
            except StaleCursorError:
                raise
            except LakeError:
                self.storage = None
            else:
                return added
        self.book = self.book.after(added, sinks)
        self._keep(Local(book=self.book, unsaved=(*self._local.unsaved, *added)))
        return added

    def _of_lake(self, sinks: tuple[str, ...]) -> Book | None:
        """The lake's book, with what was decided without it; `None` if it does not answer after all."""
        if self.storage is None:
            return None
        try:
            book = journal.read(self.storage, sinks)
            if self._local.unsaved:
                book = journal.write(self.storage, book, self._local.unsaved, self._local.merged(book))
        except LakeError:
            self.storage = None
            return None
        if self._local != Local(book=book):
            self._keep(Local(book=book))
        return book

    def _keep(self, state: Local) -> None:
        self._local = state
        try:
            local.save(self._path, state)
        except OSError as error:
            self.notes.append(f"no copy of the alerts in {self._path}: {error}")
