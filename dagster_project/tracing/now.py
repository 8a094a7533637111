"""Where an event is now, as a sentence."""

from __future__ import annotations

import datetime as dt

from dagster_project.lake.specs import ERROR, POISON, RELEASE
from dagster_project.refine.holds import Hold, holds, is_in
from dagster_project.refine.probe import reasons
from dagster_project.tracing.story import BEFORE, UNREAD
from dagster_project.tracing.tables import PLACE, Row, Tables, key_of
from dagster_project.tracing.whereabouts import Whereabouts

_PLAIN = {
    "tombstones": "a delete, applied or overtaken by a newer version",
    "control": "no message: the mark of the end of a transaction",
    "aborted": "no message: its transaction was aborted",
    "compacted": "no message any more: compacted by the broker",
    "unproven_gaps": "nobody knows what it was: the broker had deleted it before it was asked",
    "lost": "lost: deleted by the broker before it was read, and declared so",
    "forgotten": "forgotten: erased from every layer",
    "unaccounted": "nowhere, or in more than one place: see `lakehouse verify`",
    BEFORE: "before the first offset that was ever to be read",
}


def sentence(tables: Tables, found: Whereabouts, row: Row | None) -> str:
    """Where it is, and what that means."""
    silver = tables.silver.name
    match found.place:
        case "silver_rows":
            return f"in {silver}, as the row of its key"
        case "superseded":
            winner = found.winner
            by = "another message" if winner is None else "/".join(str(winner[name]) for name in PLACE)
            return f"not in {silver}: superseded by {by}"
        case "quarantined" if row is not None and row.get("_kind") == POISON and found.quarantined is None:
            return f"in {tables.bronze.name} as poison: {row[ERROR]}"
        case "quarantined":
            return f"in {tables.quarantine.name}: {_reasons(found)}"
        case "pending" if found.quarantined is not None and found.quarantined[RELEASE] is not None:
            return f"released from {tables.quarantine.name}, and on its way to {silver}"
        case "pending":
            return f"in {tables.bronze.name}, and not yet read by Silver"
        case "held":
            return f"in {tables.bronze.name}, held back by the gate{_why(tables, row)}"
        case place if place == UNREAD:
            cursor = tables.cursor
            return "not read yet" if cursor is None else f"not read yet: {tables.bronze.name} has all before its cursor"
        case place:
            return _PLAIN[place]


def _reasons(found: Whereabouts) -> str:
    return "; ".join(found.quarantined["_reasons"]) if found.quarantined is not None else "for reasons not told"


def _why(tables: Tables, row: Row | None) -> str:
    if row is None or tables.silver.table is None:
        return ""
    scopes: list[Hold] = [hold for scope, hold in holds(tables.silver.cursors).items() if is_in(key_of(row), [scope])]
    texts = [
        f" since {dt.datetime.fromtimestamp(hold.since_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S}, {hold.scope}: "
        + (reasons(tables.silver.table, hold) or "the log no longer tells why")
        for hold in scopes
    ]
    return ";".join(texts)
