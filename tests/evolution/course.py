"""The course of a contract: a column more, a major version beside it, promoted, taken back, promoted again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from polars.testing import assert_frame_equal

from dagster_project.lake.query import query
from dagster_project.refine.comparison import Comparison, compare_rows
from dagster_project.refine.rollout import start, take_over
from tests.evolution.scene import GROWN, NAME, NEXT, Reader, Scene, wait


@dataclass(frozen=True, kw_only=True)
class Course:
    """What came of it.

    Attributes:
        audited: problems of the accounts that were taken meanwhile.
    """

    reader: Reader
    accounts: int
    audited: list[str]
    comparison: Comparison


def evolve(scene: Scene, *, events: int, report: Callable[[str], None]) -> Course:
    """Send so many events, and change the contract on the way; returns once all of them are in every table."""
    with scene.busy(events, lead=events // 10) as (reader, audited):

        def after(share: float, what: str) -> None:
            # Not the newest ones: those of some keys may be poison, or about to be read.
            reader.wait_for(int(events * share) - scene.keys)
            report(f"{scene.sent:,} events sent, {reader.newest:,} read in {reader.reads:,} reads: {what}")

        after(0.2, "a column is added (1.1.0)")
        scene.agree(GROWN)
        after(0.4, "version 2.0.0 is built beside it")
        scene.agree(GROWN, NEXT)
        start(scene.catalog, NAME, storage=scene.storage)
        for share, back in ((0.6, False), (0.7, True), (0.8, False)):
            after(share, "rolled back" if back else "promoted")
            take_over(scene.catalog, NAME, back=back, storage=scene.storage, report=report)
        wait(lambda: scene.sent >= events or bool(reader.problems))
        after(1.0, "all of them are sent")
    scene.catch_up()
    older, newer = scene.catalog.versions(NAME)
    comparison = compare_rows(older, newer, storage=scene.storage, sample=5)
    problems = [problem for account in audited for problem in account.problems]
    return Course(reader=reader, accounts=len(audited), audited=problems, comparison=comparison)


def check_against_what_was_sent(scene: Scene) -> None:
    """Compare Silver's rows and the mart's totals with the messages, and Bronze's rows with their number."""
    newest = scene.newest()
    found = query(
        f"SELECT id, level, height, unit, coupon FROM silver.{NAME}", catalog=scene.catalog, storage=scene.storage
    )
    assert_frame_equal(found.sort("id"), newest)
    totals = query(
        "SELECT sum(readings)::BIGINT, sum(total)::BIGINT FROM gold.levels",
        catalog=scene.catalog,
        storage=scene.storage,
    )
    assert totals.row(0) == (len(newest), newest["level"].sum())
    rows = query(f"SELECT count(*) FROM bronze.{NAME}", catalog=scene.catalog, storage=scene.storage)
    assert rows.item() == scene.sent
