"""The gate: what breaks a table rule, or is too bad, waits for that key or region alone, and comes through once mended."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.contract.model import Catalog
from dagster_project.contract.quality import Bound, Breaker, TableRule
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.keys import Key
from dagster_project.lake.query import query
from dagster_project.refine import holds, quarantine, release, silver
from dagster_project.refine.plan import pending_silver
from dagster_project.refine.probe import reasons
from dagster_project.refine.silver import Refined
from tests.unit.lakes import Lake, Message, reading, tombstone

EU, US = Key(dt.date(2026, 1, 1), "eu"), Key(dt.date(2026, 1, 1), "us")
EUROPE = Key(None, "eu")
FEW = TableRule(id="few", metric="rowCount", bound=Bound(operator="mustBeLessOrEqualTo", values=(3,)), severity="error")
NOW, LATER = dt.timedelta(microseconds=1), dt.timedelta(hours=1)
# Opens above a half, from four rows on; is probed whenever it is looked at.
BREAKER = Breaker(bad_rate=0.5, min_rows=4, probe=NOW)


def made(tmp_path: Path, catalog: Catalog, **changes: Any) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=catalog, **changes)


def changed(lake: Lake, **changes: Any) -> Lake:
    """The same tables under another contract."""
    return replace(lake, dataset=replace(lake.dataset, **changes))


def refined(lake: Lake, *, afresh: bool = False) -> list[Refined]:
    return list(silver.refine(lake.dataset, storage=lake.storage, keys=None, afresh=afresh))


def held(found: list[Refined]) -> dict[Key, str]:
    return {scope: reason for one in found for scope, reason in one.held.items()}


def accounted(lake: Lake) -> Account:
    found = account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="")
    assert found.accounted, found.problems
    places = ("silver_rows", "superseded", "quarantined", "tombstones", "gaps", "lost", "pending", "held")
    assert sum(getattr(found, place) for place in places) == found.offsets
    return found


def in_quarantine(lake: Lake) -> list[int]:
    return quarantine.quarantined(lake.dataset, storage=lake.storage)["_kafka_offset"].to_list()


def bad(offset: int, identity: str, **options: Any) -> Message:
    return reading(offset, identity, level=-1, **options)


def test_a_table_rule_holds_back_its_key_and_no_other(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, table_rules=(FEW,), breaker=replace(BREAKER, probe=LATER))
    lake.arrive(*(reading(n, f"e{n}") for n in range(4)), bad(4, "e4"), reading(5, "u", region="us"))
    assert held(refined(lake)) == {EU: "few: 4, must be at most 3"}
    assert set(lake.live()) == {"u"}
    assert in_quarantine(lake) == []  # nothing of a key that is held leaves Bronze
    assert pending_silver(lake.dataset, lake.tables()) == []  # it is not its time
    assert pending_silver(lake.dataset, lake.tables(), with_held=True) == [EU]
    assert accounted(lake).held == 5
    (hold,) = holds.holds(lake.silver.cursors()).values()
    assert reasons(lake.silver, hold) == "few: 4, must be at most 3"
    # Others go on.
    lake.arrive(reading(6, "e6"), reading(7, "u2", region="us"))
    assert held(refined(lake)) == {}
    assert set(lake.live()) == {"u", "u2"}
    # Once the rule is another one, all that waited comes through, once.
    mended = changed(lake, table_rules=(replace(FEW, bound=Bound(operator="mustBeLessThan", values=(9,))),))
    assert pending_silver(mended.dataset, mended.tables()) == [EU]
    assert held(refined(mended)) == {}
    assert set(mended.live()) == {"e0", "e1", "e2", "e3", "e6", "u", "u2"}
    assert in_quarantine(mended) == [4]
    assert holds.holds(mended.silver.cursors()) == {}
    assert accounted(mended).held == 0


def test_what_is_published_already_counts(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, table_rules=(FEW,), breaker=replace(BREAKER, probe=NOW))
    lake.arrive(*(reading(n, f"e{n}") for n in range(3)))
    assert held(refined(lake)) == {}
    lake.arrive(reading(3, "e3"))
    assert set(held(refined(lake))) == {EU}
    assert set(lake.live()) == {"e0", "e1", "e2"}
    # A newer version of a row that is there, and a delete, are no row more.
    lake.arrive(tombstone(4, "e0", at=9))
    lake.arrive(reading(5, "e1", at=9, level=7))
    assert held(refined(lake)) == {}
    assert {key: row["level"] for key, row in lake.live().items()} == {"e1": 7, "e2": 1, "e3": 1}
    accounted(lake)


def test_a_warning_of_a_table_rule_is_told_and_holds_nothing(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, table_rules=(replace(FEW, severity="warning"),))
    lake.arrive(*(reading(n, f"e{n}") for n in range(4)))
    (found,) = refined(lake)
    assert (found.held, found.warnings) == ({}, {"few": 1})
    assert len(lake.live()) == 4


def test_a_held_key_loses_no_portion(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silver, "_ROWS", 4)
    only_small = TableRule(id="small", metric="rowCount", bound=Bound(operator="mustBeLessThan", values=(4,)))
    lake = made(tmp_path, catalog, table_rules=(only_small,), breaker=replace(BREAKER, probe=LATER))
    lake.arrive(*(reading(n, f"a{n}") for n in range(4)))
    lake.arrive(reading(4, "b"))
    # The second portion of the key alone would keep to the rule, but Silver's cursor would then pass the first.
    assert set(held(refined(lake))) == {EU}
    assert lake.live() == {}
    assert accounted(lake).held == 5


def test_the_breaker_opens_for_its_region_and_closes_by_itself(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, breaker=BREAKER)
    lake.arrive(*(bad(n, f"e{n}") for n in range(3)), reading(3, "e3"), reading(4, "u", region="us"))
    assert held(refined(lake)) == {EUROPE: "3 of 4 rows broke a row rule (75.0%)"}
    assert set(lake.live()) == {"u"}
    assert in_quarantine(lake) == []
    assert accounted(lake).held == 4
    # Nothing new, no new verdict: the sensor has nothing to ask for.
    assert pending_silver(lake.dataset, lake.tables()) == []
    # Still bad, on another day of the region too.
    lake.arrive(*(bad(n, f"e{n}", day=2) for n in range(5, 9)))
    assert pending_silver(lake.dataset, lake.tables()) == [EU, Key(dt.date(2026, 1, 2), "eu")]
    assert held(refined(lake)) == {EUROPE: "4 of 4 rows broke a row rule (100.0%)"}
    # Good again, but too few rows to say so; then enough.
    lake.arrive(*(reading(n, f"e{n}") for n in range(9, 12)))
    assert held(refined(lake)) == {EUROPE: "3 new rows are too few for a verdict"}
    assert set(lake.live()) == {"u"}
    lake.arrive(reading(12, "e12"))
    assert held(refined(lake)) == {}
    assert set(lake.live()) == {"e3", "e9", "e10", "e11", "e12", "u"}
    assert in_quarantine(lake) == [0, 1, 2, 5, 6, 7, 8]
    assert accounted(lake).held == 0
    assert pending_silver(lake.dataset, lake.tables()) == []
    # It is closed, and opens again for new rows.
    lake.arrive(*(bad(n, f"f{n}") for n in range(13, 17)))
    assert set(held(refined(lake))) == {EUROPE}


def test_the_breaker_closes_once_the_contract_is_mended(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, breaker=replace(BREAKER, probe=LATER))
    lake.arrive(*(bad(n, f"e{n}") for n in range(4)))
    assert set(held(refined(lake))) == {EUROPE}
    free = tuple(
        replace(column, constraints=replace(column.constraints, minimum=None)) for column in lake.dataset.columns
    )
    mended = changed(lake, columns=free)
    assert pending_silver(mended.dataset, mended.tables()) == [EU]
    assert held(refined(mended)) == {}
    assert len(mended.live()) == 4
    accounted(mended)


def test_a_person_has_it_judged_now(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, breaker=replace(BREAKER, probe=LATER))
    lake.arrive(*(bad(n, f"e{n}") for n in range(4)))
    refined(lake)
    lake.arrive(*(reading(n, f"e{n}") for n in range(4, 12)))
    assert held(refined(lake)) == {}
    assert lake.live() == {}
    assert held(refined(lake, afresh=True)) == {}
    assert len(lake.live()) == 8
    accounted(lake)


def test_small_batches_add_up_to_a_verdict(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, breaker=BREAKER)
    for n in range(3):
        lake.arrive(bad(n, f"e{n}"), bad(n, f"u{n}", region="us", partition=1))
        assert held(refined(lake)) == {}
    assert len(in_quarantine(lake)) == 6
    lake.arrive(bad(3, "e3"), *(reading(n, f"u{n}", region="us", partition=1) for n in range(3, 8)))
    assert held(refined(lake)) == {EUROPE: "4 of 4 rows broke a row rule (100.0%)"}
    assert accounted(lake).held == 1


def test_deletes_pass_a_breaker_that_is_open(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, breaker=replace(BREAKER, probe=LATER))
    lake.arrive(reading(0, "e0"))
    refined(lake)
    lake.arrive(*(bad(n, f"e{n}") for n in range(1, 8)))
    refined(lake)
    lake.arrive(reading(8, "e8", at=1), tombstone(9, "e0", at=5), tombstone(10, "e8", at=5))
    refined(lake)
    assert lake.live() == {}
    assert accounted(lake).held == 8
    # What waited is older than its delete.
    list(refined(changed(lake, breaker=replace(BREAKER, bad_rate=1.0))))
    assert lake.live() == {}
    accounted(lake)


def test_a_run_that_is_overtaken_by_a_hold_writes_nothing(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = made(tmp_path, catalog, breaker=BREAKER)
    lake.arrive(*(bad(n, f"e{n}") for n in range(4)))
    real = silver.judge

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(silver, "judge", real)
        refined(lake)
        return real(*arguments)

    monkeypatch.setattr(silver, "judge", overtaken)
    with pytest.raises(StaleCursorError, match="another writer committed"):
        refined(lake)
    assert accounted(lake).held == 4


def test_a_verdict_that_turns_after_a_crash_leaves_each_row_in_one_place(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    lake.arrive(reading(0, "a"), bad(1, "b"), reading(2, "c", level=5))
    with monkeypatch.context() as patch:
        patch.setattr(silver, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            refined(lake)
    assert in_quarantine(lake) == [1]
    # What was bad is good by now, and what was good is bad.
    turned = tuple(
        replace(column, constraints=replace(column.constraints, minimum=None, maximum=4))
        for column in lake.dataset.columns[-1:]
    )
    mended = changed(lake, columns=(*lake.dataset.columns[:-1], *turned))
    refined(mended)
    assert set(mended.live()) == {"a"}
    assert in_quarantine(mended) == [1, 2]
    accounted(mended)


def any_level(lake: Lake) -> Lake:
    return changed(
        lake,
        columns=tuple(
            replace(column, constraints=replace(column.constraints, minimum=None)) for column in lake.dataset.columns
        ),
    )


def test_a_release_judges_again_and_publishes_once(lake: Lake) -> None:
    lake.arrive(bad(0, "a"), bad(1, "b", at=1), reading(2, "b", at=5), bad(3, "c", region="us"))
    lake.refine()
    lake.compute()
    stays = release.release(lake.dataset, storage=lake.storage)
    assert (stays.judged, stays.released, stays.reasons) == (3, {}, {"level.minimum": 3})
    mended = any_level(lake)
    version = mended.silver.version
    would = release.release(mended.dataset, storage=mended.storage, dry_run=True)
    assert (would.judged, would.released) == (3, {EU: 2, US: 1})
    assert (mended.silver.version, in_quarantine(mended)) == (version, [0, 1, 3])
    some = release.release(mended.dataset, storage=mended.storage, where="region = 'eu' AND reasons LIKE 'level%'")
    assert (some.judged, some.released, some.resumed) == (2, {EU: 2}, 0)
    assert in_quarantine(mended) == [3]
    # The older version of b is superseded by the one that is there.
    assert {key: row["_kafka_offset"] for key, row in mended.live().items()} == {"a": 0, "b": 2}
    mended.compute()
    assert mended.gold.rows().collect()["readings"].to_list() == [2]
    rest = release.release(mended.dataset, storage=mended.storage)
    assert (rest.judged, rest.released) == (1, {US: 1})
    again = release.release(mended.dataset, storage=mended.storage)
    assert (again.judged, again.released, again.resumed) == (0, {}, 0)
    found = accounted(mended)
    assert (found.silver_rows, found.superseded, found.quarantined) == (3, 1, 0)
    # Judging all of Bronze again, by the old rules too, changes nothing.
    before = mended.live()
    refined(mended, afresh=True)
    refined(lake, afresh=True)
    assert mended.live() == before
    accounted(mended)


def test_a_release_that_was_killed_is_taken_on(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    lake.arrive(bad(0, "a"), bad(1, "b"))
    lake.refine()
    mended = any_level(lake)
    with monkeypatch.context() as patch:
        patch.setattr(release, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            release.release(mended.dataset, storage=mended.storage, where="_kafka_offset = 0")
    assert in_quarantine(mended) == [1]
    found = accounted(mended)
    assert (found.pending, found.quarantined, found.silver_rows) == (1, 1, 0)
    # By the rules of before, too: it was decided.
    done = release.release(lake.dataset, storage=lake.storage)
    assert (done.resumed, done.released) == (1, {})
    assert set(lake.live()) == {"a"}
    found = accounted(lake)
    assert (found.pending, found.quarantined, found.silver_rows) == (0, 1, 1)


def test_a_release_does_not_pass_what_is_held(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, table_rules=(FEW,), breaker=replace(BREAKER, min_rows=50, probe=LATER))
    lake.arrive(*(reading(n, f"e{n}") for n in range(3)), bad(3, "e3"), bad(4, "u", region="us"))
    lake.refine()
    mended = any_level(lake)
    found = release.release(mended.dataset, storage=mended.storage)
    assert (found.released, found.held) == ({US: 1}, {EU: 1})
    assert in_quarantine(mended) == [3]
    accounted(mended)


def test_a_release_by_sql_that_does_not_run_says_so(lake: Lake) -> None:
    lake.arrive(bad(0, "a"))
    lake.refine()
    with pytest.raises(LakeError, match="--where nonsense = 1"):
        release.release(lake.dataset, storage=lake.storage, where="nonsense = 1")


def test_rows_that_were_released_are_no_longer_in_the_view(lake: Lake) -> None:
    lake.arrive(bad(0, "a"), bad(1, "b"))
    lake.refine()
    mended = any_level(lake)
    release.release(mended.dataset, storage=mended.storage, where="_kafka_offset = 1")
    assert len(mended.quarantine.rows().collect()) == 2
    assert quarantine.released_through(mended.silver) == mended.quarantine.version
    rows = query("FROM quarantine.readings", catalog=mended.catalog, storage=mended.storage)
    assert rows["_kafka_offset"].to_list() == [0]
