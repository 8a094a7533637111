"""Record batches that were made to fill memory: their messages are poison, and what stands beside them is read."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from dagster_project.contract.model import Dataset
from dagster_project.ingest import records
from dagster_project.ingest.bronze import place
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.fetch import Fetched
from dagster_project.lake import specs
from dagster_project.topics.batches import Run, runs
from tests.batches import ZSTD, batch, packed
from tests.hostile import Record
from tests.unit.security import hostile
from tests.unit.security.hostile import BOMBS, open_, placed, tiny, zeros


@pytest.fixture(scope="module")
def probes() -> Dataset:
    return hostile.dataset()


@pytest.mark.parametrize("name", BOMBS)
def test_its_messages_are_poison_and_its_neighbours_are_not(name: str, probes: Dataset) -> None:
    bomb = BOMBS[name]()
    (_, last, _), *_ = runs(bomb, (), following=0)
    after = batch([Record(place=last + 1, content=b"{}"), Record(place=last + 2, content=b"{}")])
    first = open_(bomb, after)
    assert (first.next, first.gaps) == (last + 1, ())
    rows = placed(first, probes)
    assert rows["_kafka_offset"].to_list() == list(range(last + 1))
    assert rows.select("_kind", pl.col("_error").str.split(":").list.first()).unique().rows() == [
        (specs.POISON, "batch.size")
    ]
    assert rows["_payload"].null_count() == rows["_key"].null_count() == len(rows)
    assert open_(bomb, after, following=last + 1).messages["_payload"].to_list() == [b"{}", b"{}"]


def test_what_stands_before_it_is_taken_first(probes: Dataset) -> None:
    before = batch([Record(place=0, content=b"{}")])
    bomb = packed(2, zeros([0, 1], 100 << 20), codec=ZSTD, base=1)
    whole, rest = open_(before, bomb), open_(before, bomb, following=1)
    assert (whole.messages["_payload"].to_list(), whole.next) == ([b"{}"], 1)
    assert (rest.messages["_kafka_offset"].to_list(), rest.next) == ([1, 2], 3)
    both = Fetched(messages=pl.concat([whole.messages, rest.messages], how="diagonal"), next={0: 3}, caught_up=True)
    assert [error.split(":")[0] for error in place(probes, both, Decoder(probes.columns))["_error"]] == [
        "id.required",
        "batch.size",
        "batch.size",
    ]


def test_of_one_that_was_compacted_only_what_is_left_has_a_row() -> None:
    bomb = packed(3, zeros([2, 5, 7], 60 << 20), codec=ZSTD, base=10, last=19)
    found = open_(bomb)
    assert found.messages["_kafka_offset"].to_list() == [12, 15, 17]
    assert found.gaps == ((0, 11, "compacted"), (13, 14, "compacted"), (16, 16, "compacted"), (18, 19, "compacted"))


def test_one_of_very_many_messages_is_refused_in_parts(monkeypatch: pytest.MonkeyPatch, probes: Dataset) -> None:
    monkeypatch.setattr(records, "_MOST_REFUSED", 2)
    bomb = packed(5, zeros([0, 2, 3, 7, 8], 60 << 20), codec=ZSTD, base=10, last=19)
    following, offsets, gaps, errors = 10, list[int](), list[Run](), list[str]()
    while following < 20:
        found = open_(bomb, following=following)
        offsets.extend(found.messages["_kafka_offset"])
        errors.extend(placed(found, probes)["_error"])
        gaps += found.gaps
        following = found.next
    assert offsets == [10, 12, 13, 17, 18]
    assert {error.split(":")[0] for error in errors} == {"batch.size"}
    assert [(gap.first, gap.last) for gap in gaps] == [(11, 11), (14, 16), (19, 19)]


def test_a_large_batch_that_is_not_too_large_is_read() -> None:
    found = open_(packed(2, zeros([0, 1], 60 << 20), codec=ZSTD))
    assert found.messages["_payload"].bin.size().to_list() == [60 << 20] * 2
    assert len(open_(packed(100_000, tiny(100_000), codec=ZSTD)).messages) == 100_000


@pytest.mark.parametrize("sent_ms", [-(2**62), -(2**53), -1, 2**53, 2**62])
def test_any_time_that_a_producer_may_write_is_one_that_can_be_told(sent_ms: int, probes: Dataset) -> None:
    (found,) = placed(open_(batch([Record(place=0, content=b"{}", sent_ms=sent_ms)])), probes).to_dicts()
    assert datetime(1, 1, 1, tzinfo=UTC) < found["_kafka_timestamp"] < datetime.max.replace(tzinfo=UTC)
