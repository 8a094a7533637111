"""What became of a row behind Bronze: quarantine, its release, Silver, and what it gave way to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dagster_project.lake.log import Commit
from dagster_project.lake.specs import RELEASE
from dagster_project.refine.cursors import cursor_name
from dagster_project.tracing.commits import step, time_of
from dagster_project.tracing.rivals import merged_by, rivals
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
    commit, name, winner = merged_by(tables, row), tables.silver.name, found.winner
    own = tuple(row[column] for column in PLACE)
    if winner is None or tuple(winner[column] for column in PLACE) == own:
        text = "merged: keys are deleted by it" if found.place == "tombstones" else "merged: the row of its key"
        return Merged(steps=(step("silver", name, text, commit=commit),), commit=commit, effective=True)
    before = rivals(tables, row, winner)
    if commit is None or not before:  # the log no longer tells what came first
        return Merged(steps=(_superseded(name, winner, None, "superseded by"),), commit=commit)
    later, rival = before[0]
    if later.version <= commit.version:
        return Merged(
            steps=(_superseded(name, rival, commit, "read, and not merged, as before it goes"),), commit=commit
        )
    steps = (
        step("silver", name, "merged: the row of its key until it was superseded", commit=commit),
        _superseded(name, rival, later, "superseded by"),
    )
    return Merged(steps=steps, commit=commit, effective=True)


def _superseded(name: str, rival: Row, commit: Commit | None, how: str) -> Step:
    partition, offset = (rival[column] for column in PLACE)
    facts = {"by": {"partition": partition, "offset": offset}}
    return step("superseded", name, f"{how} {partition}/{offset}", commit=commit, facts=facts)
