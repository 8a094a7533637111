"""Tables that are moved out of the way: whole, readable, and whatever moment the move breaks off at."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from fsspec.implementations.local import LocalFileSystem

from dagster_project.errors import LakeError
from dagster_project.lake import retire
from dagster_project.lake.retire import Retirement, tidy
from tests.unit.lakes import CLUSTER, TOPIC_ID, Lake, reading


class CrashError(Exception):
    """Stands for the end of the process."""


def retirement(lake: Lake) -> Retirement:
    return Retirement(storage=lake.storage, cluster_id=CLUSTER, topic_id=TOPIC_ID)


def offsets(uri: str) -> list[int]:
    return sorted(pl.read_delta(uri, columns=["_kafka_offset"])["_kafka_offset"])


@pytest.fixture
def filled(lake: Lake) -> Lake:
    lake.arrive(reading(0, "a"), reading(1, "b", day=2))
    lake.arrive(reading(2, "c", region="us"))
    return lake


def test_a_moved_table_is_gone_here_and_whole_there(filled: Lake) -> None:
    there = retirement(filled).move("bronze", "readings")

    assert there is not None
    assert there == f"{filled.storage.uri}/retired/{CLUSTER}/{TOPIC_ID}/bronze/readings"
    assert offsets(there) == [0, 1, 2]
    assert not Path(filled.storage.table("bronze", "readings")).exists()
    assert filled.tables()["bronze/readings"] is None
    assert retirement(filled).move("bronze", "readings") is None


def test_a_crash_after_the_copy_leaves_the_table_readable_until_it_is_tidied_up(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(retire, "_delete", crash)
        with pytest.raises(CrashError):
            retirement(filled).move("bronze", "readings")
    assert filled.bronze.rows().collect().height == 3

    assert tidy(filled.storage, "bronze", "readings")
    assert filled.tables()["bronze/readings"] is None
    assert offsets(f"{retirement(filled).folder}/bronze/readings") == [0, 1, 2]
    assert not tidy(filled.storage, "bronze", "readings")


@pytest.mark.parametrize("last", [0, 1])
def test_a_crash_in_the_middle_of_deleting_shows_no_half_table(
    filled: Lake, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    real, calls = LocalFileSystem.rm, []

    def some(self: LocalFileSystem, path: list[str], **options: object) -> None:
        if len(calls) == last:
            raise CrashError
        calls.append(path)
        real(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "rm", some)
        with pytest.raises(CrashError):
            retirement(filled).move("bronze", "readings")
    found = filled.tables()["bronze/readings"]
    assert found is None or found.rows().collect().height == 3

    assert tidy(filled.storage, "bronze", "readings")
    assert not Path(filled.storage.table("bronze", "readings")).exists()
    assert offsets(f"{retirement(filled).folder}/bronze/readings") == [0, 1, 2]


def test_a_crash_in_the_middle_of_copying_begins_anew(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalFileSystem.cp_file

    def some(self: LocalFileSystem, one: str, other: str, **options: object) -> None:
        if one.endswith("00000000000000000001.json"):
            raise CrashError
        real(self, one, other)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "cp_file", some)
        with pytest.raises(CrashError):
            retirement(filled).move("bronze", "readings")
    assert not tidy(filled.storage, "bronze", "readings")
    filled.arrive(reading(3, "d"))

    there = retirement(filled).move("bronze", "readings")
    assert there is not None
    assert offsets(there) == [0, 1, 2, 3]


def test_a_table_that_went_on_after_a_crash_is_kept_and_moves_to_a_place_of_its_own(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(retire, "_delete", crash)
        with pytest.raises(CrashError):
            retirement(filled).move("bronze", "readings")
    filled.arrive(reading(3, "d"))

    assert not tidy(filled.storage, "bronze", "readings")
    there = retirement(filled).move("bronze", "readings")
    assert there is not None
    assert there == f"{retirement(filled).folder}/bronze/readings.2"
    assert offsets(there) == [0, 1, 2, 3]
    assert offsets(f"{retirement(filled).folder}/bronze/readings") == [0, 1, 2]


def test_a_copy_that_is_not_the_table_deletes_nothing(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalFileSystem.cp_file

    def cut(self: LocalFileSystem, one: str, other: str, **options: object) -> None:
        real(self, one, other)
        if one.endswith(".parquet"):
            Path(other).write_bytes(Path(one).read_bytes()[:-1])

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "cp_file", cut)
        with pytest.raises(LakeError, match="nothing was deleted"):
            retirement(filled).move("bronze", "readings")
    assert filled.bronze.rows().collect().height == 3


def crash(*_: object) -> None:
    raise CrashError
