"""A subject is erased from every layer and version, nothing else is, and every offset keeps its place."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.accounting.fates import fates
from dagster_project.accounting.gaps import gaps
from dagster_project.accounting.snapshot import Snapshot
from dagster_project.accounting.tiles import tiles
from dagster_project.contract.model import Catalog, Column, Constraints, DataType
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.table import Table, TableSpec
from dagster_project.ledger.ledger import Ledger
from dagster_project.lifecycle import erase as erasing
from dagster_project.lifecycle.erase import Erased, erase
from dagster_project.lifecycle.find import find
from dagster_project.lifecycle.search import search
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine import silver as refining
from dagster_project.settings import PSEUDONYM_KEYS
from dagster_project.topics.offsets import Offsets
from tests.unit.lakes import Lake, Message, reading, tombstone

KEYS = f"a:{base64.b64encode(b'a' * 32).decode()}"
TEXT = DataType(kind="string")
WHO = Column(name="who", type=TEXT, constraints=Constraints(max_length=9))
SUBJECT, OTHER, LIKE = "subject-1", "another-2", "subject-10"


@pytest.fixture
def lake(request: pytest.FixtureRequest, tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """With a protected key, unless a test asks for one in the clear."""
    monkeypatch.setenv(PSEUDONYM_KEYS, KEYS)
    hidden: dict[str, Any] = {"protection": "pseudonymise", "pseudonym_domain": "id"}
    columns = (*catalog.datasets[0].columns, WHO)
    if getattr(request, "param", "") != "in the clear":
        columns = tuple(replace(c, **hidden) if c.name in ("id", "who") else c for c in columns)
    return Lake.at(tmp_path / "lake", catalog=catalog, columns=columns)


def event(offset: int, identity: str, who: str | None = None, **placed: Any) -> Message:
    message = reading(offset, identity, **placed)
    assert message.payload is not None
    return replace(message, payload=json.dumps({**json.loads(message.payload), "who": who}).encode())


def fill(lake: Lake) -> None:
    """Versions, a delete, a bad row, poison and a row that waits, of two subjects and one that is named alike."""
    lake.arrive(
        event(0, SUBJECT, "kim", at=1),
        event(1, OTHER, "sam", at=1),
        event(2, LIKE, "lou", at=1),
        event(3, "third-3", "kim", day=2, at=1441, region="us"),
    )
    lake.refine()
    lake.compute()
    lake.arrive(
        event(4, SUBJECT, "jo", at=5),
        event(5, OTHER, "sam", at=5),
        event(6, OTHER, "far too long", at=6),
        event(7, SUBJECT, "far too long", at=6),
        Message(offset=8, payload=f'{{"id": "{SUBJECT}", '.encode(), key=SUBJECT.encode()),
        Message(offset=9, payload=f'{{"id": "{OTHER}", '.encode(), key=OTHER.encode()),
    )
    lake.refine()
    lake.compute()
    lake.arrive(tombstone(10, SUBJECT, at=9), event(11, OTHER, "sam", at=9))
    lake.refine()
    lake.compute()
    lake.arrive(event(12, SUBJECT, "kim", at=20), event(13, LIKE, "lou", at=20))


# By the key; and those of all keys that ever had its value of `who`, but for poison, which says no more than its text.
OF_SUBJECT = {0, 4, 7, 8, 10, 12}
OF_KIM = {0, 3, 4, 7, 10, 12}


def forgotten(lake: Lake, **values: str) -> tuple[Erased, Subject]:
    subject = Subject.of(lake.dataset, values)
    found = find(lake.dataset, subject, storage=lake.storage)
    done = erase(
        lake.dataset, subject, found, by="me", catalog=lake.catalog, storage=lake.storage, report=lambda _: None
    )
    return done, subject


def offsets(table: Table) -> set[int]:
    return set(table.rows().select("_kafka_offset").collect().to_series())


def hits(lake: Lake, subject: Subject) -> tuple[str, ...]:
    return search(subject, storage=lake.storage, report=lambda _done, _total: None).hits


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*.parquet") if "_delta_log" not in str(path)}


def places(lake: Lake) -> dict[str, int]:
    """How many offsets have each place, by the account's own parts; fails on a problem."""
    tables = Snapshot.take(lake.dataset, storage=lake.storage, thorough=False)
    topic = lake.cursor.topic(lake.dataset.topic.name)
    ledger = Ledger.read(tables.ledger.table, topic)
    gone = ledger.offsets("forgotten")
    found = fates(
        lake.dataset,
        bronze=tables.bronze,
        silver=tables.silver,
        quarantine=tables.quarantine,
        expired=ledger.expired(),
        forgotten=gone,
    )
    window = Offsets.of_bounds(lake.cursor.start, lake.cursor.next)
    holes = gaps(
        Offsets.union(found.bronze, found.expired, gone), window=window, log={}, ledger=ledger, covered=Offsets()
    )
    assert [*tables.problems(), *found.problems(), *holes.problems()] == []
    counts = {name: len(of) for name, of in tiles(found, holes, window=window, forgotten=gone).items()}
    assert sum(counts.values()) == len(window)
    assert counts["unaccounted"] == 0
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("lake", ["in the clear", "protected"], indirect=True)
@pytest.mark.parametrize("by", [{"id": SUBJECT}, {"who": "kim"}])
def test_all_versions_of_the_subject_go_and_nobody_elses(lake: Lake, by: dict[str, str]) -> None:
    fill(lake)
    before = places(lake)
    found = find(lake.dataset, Subject.of(lake.dataset, by), storage=lake.storage)
    wanted = OF_SUBJECT if "id" in by else OF_KIM
    assert {first for _, first, last in found.offsets.rows().iter_rows() for first in range(first, last + 1)} == wanted
    forgotten(lake, **by)
    assert offsets(lake.bronze) == set(range(14)) - wanted
    assert not offsets(lake.silver) & wanted
    assert offsets(lake.quarantine) == {6}
    after = places(lake)
    assert after.pop("forgotten") == len(wanted)
    assert sum(after.values()) == sum(before.values()) - len(wanted)
    lake.refine()
    assert offsets(lake.silver) == ({3, 11, 13} if "id" in by else {11, 13})


def test_no_version_of_a_table_has_the_subject_any_more(lake: Lake) -> None:
    fill(lake)
    subject = Subject.of(lake.dataset, {"id": SUBJECT})
    root = Path(lake.storage.uri)
    held = hits(lake, subject)
    for layer in ("bronze/", "silver/", "quarantine/"):
        assert sum(path.startswith(layer) for path in held) > 1 or layer == "quarantine/"
    forgotten(lake, id=SUBJECT)
    assert hits(lake, subject) == ()
    for path, content in bytes_of(root).items():
        rows = pl.read_parquet(content)
        texts = [str(value) for row in rows.rows() for value in row]
        assert not [text for text in texts if SUBJECT in text and LIKE not in text], path


def test_marts_are_computed_without_the_subject_and_their_older_files_are_gone(lake: Lake) -> None:
    fill(lake)
    was = lake.gold.rows().collect().sort("event_date").to_dicts()
    old = set(lake.gold.files()["path"])
    forgotten(lake, who="sam")
    now = lake.gold.rows().collect().sort("event_date").to_dicts()
    assert [row["readings"] for row in was] == [2, 1]
    assert [row["readings"] for row in now] == [1, 1]
    assert not any((Path(lake.gold.uri) / path).exists() for path in old - set(lake.gold.files()["path"]))


def test_a_second_time_there_is_nothing_left_to_do(lake: Lake) -> None:
    fill(lake)
    forgotten(lake, id=SUBJECT)
    again, _ = forgotten(lake, id=SUBJECT)
    assert set(again.rows.values()) == {0}
    assert (again.files, again.kept, len(again.offsets)) == (0, (), len(OF_SUBJECT))


class Killed(Exception):  # noqa: N818 not an error of the code under test
    """A stand-in for a kill."""


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("_record", 0),
        *(("_take_out", done) for done in range(3)),
        ("compute", 0),
        ("_holding_unused", 1),
        ("_delete", 1),
    ],
)
def test_killed_anywhere_the_next_call_completes_it(
    lake: Lake, step: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    calls, real = 0, getattr(erasing, step)

    def killing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Killed
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(erasing, step, killing)
        with pytest.raises(Killed):
            forgotten(lake, who="kim")
    places(lake)  # sound at each moment
    _, subject = forgotten(lake, who="kim")
    assert not offsets(lake.silver) & OF_KIM
    assert offsets(lake.quarantine) == {6}
    assert hits(lake, subject) == ()
    assert places(lake)["forgotten"] == len(OF_KIM)


def test_a_row_that_bronze_has_no_longer_is_forgotten_too(lake: Lake) -> None:
    fill(lake)
    lake.arrive(event(14, OTHER, "sam", at=30))
    lake.refine()
    bronze = lake.bronze
    gone = bronze.files().filter(pl.col("event_date").is_not_null())
    bronze.commit(pl.DataFrame(schema=dict(bronze.spec.schema)), remove=gone, cursors={})
    done, subject = forgotten(lake, id=OTHER)
    assert done.rows["silver/readings"] == 1
    assert not offsets(lake.silver) & {1, 5, 11, 14}
    assert offsets(lake.quarantine) == {7}
    assert 14 in {first for _, first, _ in done.offsets.rows().iter_rows()}
    assert hits(lake, subject) == ()  # nor has what the retention took out and nobody has vacuumed yet


def test_the_search_sees_what_was_left(lake: Lake) -> None:
    fill(lake)
    _, subject = forgotten(lake, id=SUBJECT)
    lake.arrive(event(14, SUBJECT, at=40))
    (path,) = hits(lake, subject)
    assert path.startswith("bronze/readings/event_date=2026-01-01/region=eu/")
    lake.refine()
    assert {path.split("/")[0] for path in hits(lake, subject)} == {"bronze", "silver"}


@pytest.mark.parametrize(
    "text", [b'{"a": ["x", {"b": "subject-1"}]}', b"subject-1", b"\xff subject-1 \xfe", b'{"id":"subject-1"}']
)
def test_a_value_is_found_wherever_bytes_hold_it(lake: Lake, text: bytes) -> None:
    subject = Subject.of(lake.dataset, {"id": SUBJECT})
    rows = pl.DataFrame({"at": [b"nothing", text, b"subject-10", b"my-subject-1"]}, schema={"at": pl.Binary})
    assert subject.is_in(rows).to_list() == [False, True, False, False]


def test_a_value_is_found_in_lists_and_objects_and_under_its_pseudonym(lake: Lake) -> None:
    subject = Subject.of(lake.dataset, {"id": SUBJECT})
    (feature,) = subject.features
    nested = [[{"deep": "none"}], [{"deep": "x"}, {"deep": str(feature.published[0])}], [], None]
    assert subject.is_in(pl.DataFrame({"of": nested})).to_list() == [False, True, False, False]


def test_a_short_value_counts_under_its_name_alone(lake: Lake) -> None:
    subject = Subject.of(lake.dataset, {"id": "7"})
    texts = pl.DataFrame({"text": ['{"id": "7"}', '{"id":7}', '{"level": 7}', "7", '{"id": 77}']})
    assert subject.is_in(texts).to_list() == [True, True, False, False, False]
    named = pl.DataFrame({"id": ["7", "8", None], "level": [1, 7, 7]})
    assert subject.is_in(named).to_list() == [True, False, False]


def test_who_is_to_be_forgotten_is_not_repeated_in_an_error(lake: Lake) -> None:
    with pytest.raises(LakeError) as refused:
        Subject.of(lake.dataset, {"level": "not-a-number"})
    assert "not-a-number" not in str(refused.value)
    with pytest.raises(LakeError, match="no column 'nobody'"):
        Subject.of(lake.dataset, {"nobody": "x"})


@pytest.mark.parametrize("moment", ["before silver", "before quarantine"])
def test_a_run_that_had_read_the_rows_before_does_not_bring_them_back(
    lake: Lake, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loses to a commit, whichever one it is about to make, and the next run does without the rows."""
    fill(lake)
    lake.arrive(event(14, SUBJECT, "far too long", at=50))
    name = "quarantine" if moment == "before quarantine" else "publish"
    real: Callable[..., Any] = getattr(refining, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(refining, name, real)
        forgotten(lake, id=SUBJECT)
        return real(*arguments, **options)

    monkeypatch.setattr(refining, name, interrupted)
    # Dagster tries a step again that meets either.
    with pytest.raises((StaleCursorError, FileNotFoundError)):
        lake.refine()
    lake.refine()
    assert offsets(lake.quarantine) == {6}
    done, subject = forgotten(lake, id=SUBJECT)
    assert hits(lake, subject) == ()
    assert not offsets(lake.silver) & (OF_SUBJECT | {14})
    assert len(done.offsets) == len(OF_SUBJECT) + 1


def test_a_run_that_opens_silver_after_the_erasing_reads_bronze_as_it_is_by_then(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    real = refining._silver_spec

    def interrupted(*arguments: Any) -> TableSpec:
        monkeypatch.setattr(refining, "_silver_spec", real)
        forgotten(lake, id=SUBJECT)
        return real(*arguments)

    monkeypatch.setattr(refining, "_silver_spec", interrupted)
    lake.refine()
    assert not offsets(lake.silver) & OF_SUBJECT


@pytest.mark.parametrize("step", ["publish", "quarantine"])
def test_a_run_that_is_the_first_to_write_of_the_subject_loses_too(
    lake: Lake, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to take out of the table, and a commit all the same."""
    lake.arrive(event(0, OTHER, "sam"))
    lake.refine()
    lake.arrive(event(1, SUBJECT, "far too long" if step == "quarantine" else "kim"))
    real: Callable[..., Any] = getattr(refining, step)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(refining, step, real)
        forgotten(lake, id=SUBJECT)
        return real(*arguments, **options)

    monkeypatch.setattr(refining, step, interrupted)
    with pytest.raises((StaleCursorError, FileNotFoundError)):
        lake.refine()
    lake.refine()
    assert offsets(lake.silver) == {0}
    assert offsets(lake.quarantine) == set()
