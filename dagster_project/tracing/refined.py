"""What became of a row behind Bronze: quarantine, its release, Silver, and what it gave way to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dagster_project.lake.history import Arrival
from dagster_project.lake.log import Commit
from dagster_project.lake.specs import RELEASE
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.quarantine import RELEASED
from dagster_project.tracing.commits import step, time_of
from dagster_project.tracing.story import Step
from dagster_project.tracing.tables import PLACE, Row, Tables, key_of
from dagster_project.tracing.whereabouts import Whereabouts


def quarantined(tables: Tables, found: Whereabouts, row: Row) -> Iterator[Step]:
    """That a row broke rules, and was let go."""
    held = found.quarantined
    if held is None:
        return
    history, name = tables.quarantine.history, tables.quarantine.name
    reasons = list(held["_reasons"])
    arrival = history.arrival(cursor_name("bronze", key_of(held)), row["_batch_id"])
    commit = None if arrival is None else arrival.commit
    if commit is not None and time_of(commit) < held["_quarantined_at"].replace(microsecond=0):
        commit = None  # an earlier commit of the same batch: the row was judged anew since
    yield step(
        "quarantine",
        name,
        "quarantined: " + "; ".join(reasons),
        commit=commit,
        at=held["_quarantined_at"],
        facts={"reasons": reasons, "since": held["_quarantined_at"], "released": held[RELEASE] is not None},
    )
    if (release := held[RELEASE]) is not None:
        yield step("released", name, "released: it keeps to the rules by now", commit=history.commit(release))


@dataclass(frozen=True, kw_only=True)
class Merged:
    """How a row came to Silver.

    Attributes:
        commit: with which it was merged, whether it won or not; `None` if Silver has not read it, or nobody knows any more.
        effective: whether there was a version of Silver in which it was the row of its identity.
    """

    steps: tuple[Step, ...] = ()
    commit: Commit | None = None
    effective: bool = False


def merged(tables: Tables, found: Whereabouts, row: Row) -> Merged:
    """That a row was merged, and what it won or lost against."""
    if found.place not in {"silver_rows", "superseded", "tombstones"}:
        return Merged()
    release = None if found.quarantined is None else found.quarantined[RELEASE]
    arrival = _arrival(tables, row, release)
    commit = None if arrival is None else arrival.commit
    name, winner = tables.silver.name, found.winner
    own = tuple(row[column] for column in PLACE)
    if winner is None or tuple(winner[column] for column in PLACE) == own:
        text = "merged: keys are deleted by it" if found.place == "tombstones" else "merged: the row of its key"
        return Merged(steps=(step("silver", name, text, commit=commit),), commit=commit, effective=True)
    rival = "/".join(str(winner[column]) for column in PLACE)
    facts = {"by": {"partition": winner[PLACE[0]], "offset": winner[PLACE[1]]}}
    later = _arrival(tables, winner, None)
    if later is not None and later.commit is not None and commit is not None and later.commit.version > commit.version:
        steps = (
            step("silver", name, "merged: the row of its key until it was superseded", commit=commit),
            step("superseded", name, f"superseded by {rival}", commit=later.commit, facts=facts),
        )
        return Merged(steps=steps, commit=commit, effective=True)
    text = f"read, and not merged: {rival} goes before it"
    return Merged(steps=(step("superseded", name, text, commit=commit, facts=facts),), commit=commit)


def _arrival(tables: Tables, row: Row, release: int | None) -> Arrival | None:
    if release is not None:
        return tables.silver.history.arrival(RELEASED, release)
    return tables.silver.history.arrival(cursor_name("bronze", key_of(row)), row["_batch_id"])
