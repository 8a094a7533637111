"""The journal of alerts, `ops/alerts`: a row for each transition, and in its log's cursors how far each sink has got.

What is decided at once is one commit: two that decide from the same state conflict over `sequence`, so one of them wins, and
the other has told nobody. Each row has all that is known of its alert, so the newest rows are the state.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields

import polars as pl

from dagster_project.alerts.alert import Alert, from_row
from dagster_project.alerts.book import Book, Progress, newest
from dagster_project.contract.model import DATE_COLUMN
from dagster_project.errors import StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table

_SEQUENCE = "sequence"
# Of each sink; `problem` names the commit that says it.
_TOLD, _TRIES, _RETRY, _PROBLEM = "told", "tries", "retry", "problem"
_PROBLEMS = "problems"
# Every open alert has had a row within `REPEAT` before the newest one of all, so the last two dates have them.
_BACK = dt.timedelta(days=1)
# By table, what was read last: mostly nothing is new.
_BOOKS: dict[str, tuple[bytes, frozenset[str], Book]] = {}


def open_alerts(storage: Storage) -> tuple[Alert, ...]:
    """All alerts that are open: the critical ones first, then the oldest.

    Raises:
        LakeError: the store cannot be read.
    """
    return read(storage).open


def history(storage: Storage, since: dt.datetime) -> tuple[Alert, ...]:
    """All transitions from a moment on, in their order.

    Raises:
        LakeError: the store cannot be read.
    """
    table = Table.find(specs.alerts(), storage=storage)
    if table is None:
        return ()
    files = table.files().filter(pl.col(DATE_COLUMN) >= since.date())
    return _alerts(table.rows(files).filter(pl.col("at") >= since))


def read(storage: Storage, sinks: Collection[str] = ()) -> Book:
    """The state of all alerts.

    Args:
        sinks: those in use; one that was never used begins with what comes next.

    Raises:
        LakeError: the store cannot be read.
    """
    table = Table.find(specs.alerts(), storage=storage)
    if table is None:
        return Book(sinks={name: Progress(told=0) for name in sinks})
    digest, names, book = _BOOKS.get(table.uri, (b"", frozenset[str](), Book()))
    if digest != table.digest or names != frozenset(sinks):
        book = _read(table, sinks)
        _BOOKS[table.uri] = table.digest, frozenset(sinks), book
    return book


def write(storage: Storage, book: Book, transitions: Iterable[Alert], sinks: Mapping[str, Progress]) -> Book:
    """Commit transitions, and how far sinks have got, on top of a book that was read; nothing, if there is nothing.

    Returns:
        The book with them in it.

    Raises:
        StaleCursorError: another one has decided, or told one of these sinks, since the book was read; nothing was written.
        LakeError: the store cannot be written.
    """
    added = book.numbered(transitions)
    after = book.after(added, sinks)
    if not added and not sinks:
        return after
    # A table that is there is not opened further than its head: on a slow store each listing would cost people seconds.
    table = Table.find(specs.alerts(), storage=storage) or Table.open(specs.alerts(), storage=storage)
    known = table.cursors()
    # A sink that was never used begins where the book was: from then on each transition is its own, too.
    first = {name: item for name, item in book.sinks.items() if added and f"{_TOLD}/{name}" not in known}
    told_since = [
        name for name in sinks if known.get(f"{_TOLD}/{name}", book.sinks[name].told) != book.sinks[name].told
    ]
    if told_since or (added and known.get(_SEQUENCE, 0) != book.sequence):
        raise StaleCursorError(
            f"ops/alerts is at transition {known.get(_SEQUENCE, 0)}; this look at the platform began at {book.sequence}",
            expected="to be the only one that decides; nothing was written, and nobody was told",
            remedy="nothing: the next look starts from the committed state",
        )
    cursors = {_SEQUENCE: after.sequence} if added else {}
    for name, item in {**first, **sinks}.items():
        cursors |= {f"{_TOLD}/{name}": item.told, f"{_TRIES}/{name}": item.tries, f"{_RETRY}/{name}": item.retry_ms}
    problems = {name: item.problem for name, item in sinks.items() if item.tries}
    version = table.commit(
        _rows(added),
        cursors=cursors,
        marks=[f"{_PROBLEM}/{name}" for name in problems],
        metadata={_PROBLEMS: json.dumps(problems)} if problems else None,
    )
    if table.version == version:
        _BOOKS[table.uri] = table.digest, frozenset(after.sinks), after
    return after


def _read(table: Table, sinks: Collection[str]) -> Book:
    cursors = table.cursors()
    last = cursors.get(_SEQUENCE, 0)
    progress = {name: _progress(table, name, last) for name in sinks}
    least = min((item.told for item in progress.values()), default=last)
    files = table.files()
    last_date = files[DATE_COLUMN].max()
    if not isinstance(last_date, dt.date):
        return Book(sequence=last, sinks=progress)
    recent = (pl.col(DATE_COLUMN) >= last_date - _BACK) | (pl.col("max.sequence") > least)
    rows = _alerts(table.rows(files.filter(recent)))
    return Book(
        alerts=newest(rows),
        untold=tuple(alert for alert in rows if alert.sequence > least),
        sequence=last,
        sinks=progress,
    )


def _progress(table: Table, name: str, last: int) -> Progress:
    cursors = table.cursors()
    tries = cursors.get(f"{_TRIES}/{name}", 0)
    return Progress(
        told=cursors.get(f"{_TOLD}/{name}", last),
        tries=tries,
        retry_ms=cursors.get(f"{_RETRY}/{name}", 0),
        problem=_problem(table, name, cursors[f"{_PROBLEM}/{name}"]) if tries else "",
    )


def _problem(table: Table, name: str, version: int) -> str:
    """Why a sink failed, from the commit that says so; empty where the log no longer has it."""
    try:
        (commit,) = table.commits(version, version)
    except FileNotFoundError:
        return ""
    return str(json.loads(commit.info.get(_PROBLEMS, "{}")).get(name, ""))


def _rows(transitions: Iterable[Alert]) -> pl.DataFrame:
    schema = specs.alerts().schema
    rows = [
        {**asdict(alert), "folded": list(alert.folded), "runbook": alert.runbook, DATE_COLUMN: alert.at.date()}
        for alert in transitions
    ]
    return pl.DataFrame(rows, schema=dict(schema))


def _alerts(rows: pl.LazyFrame) -> tuple[Alert, ...]:
    names = [item.name for item in fields(Alert)]
    found = rows.select(names).sort("sequence").collect()
    return tuple(map(from_row, found.iter_rows(named=True)))
