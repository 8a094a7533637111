"""Of a history Silver holds each version of a key once, and each delete, whatever the order and batching of deliveries."""

from __future__ import annotations

import datetime as dt
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.accounting.account import Account, account
from dagster_project.contract.model import Catalog
from dagster_project.lake.keys import Key
from dagster_project.lake.query import query
from dagster_project.lifecycle.erase import erase
from dagster_project.lifecycle.expiry import expire
from dagster_project.lifecycle.find import find
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine.comparison import compare_rows
from dagster_project.refine.merge import doubled_keys
from dagster_project.refine.silver import refine
from tests.unit.lakes import EPOCH, Lake, Message, reading, tombstone

DAY = 24 * 60


class Said(NamedTuple):
    """What a message says: in `region` `None`, that the key is deleted; `at` in minutes after midnight of the first day."""

    identity: str
    at: int
    region: str | None


def message(offset: int, said: Said, *, partition: int = 0) -> Message:
    if said.region is None:
        return tombstone(offset, said.identity, at=said.at, partition=partition)
    day, level = 1 + said.at // DAY, said.at + len(said.region)
    return reading(offset, said.identity, at=said.at, day=day, region=said.region, level=level, partition=partition)


def history(folder: Path, catalog: Catalog) -> Lake:
    return Lake.at(folder, catalog=catalog, write_mode="history", stable_partitions=True, partition_time="at")


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    return history(tmp_path / "lake", catalog)


SAID = st.builds(
    Said, st.sampled_from("ab"), st.sampled_from([0, 5, DAY, DAY + 5]), st.sampled_from(["eu", "us", None])
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Message]]:
    """Anything in any order, also twice, in any batches and from two Kafka partitions."""
    order = draw(st.lists(st.tuples(SAID, st.integers(0, 1)), min_size=1, max_size=9))
    messages = [message(offset, said, partition=partition) for offset, (said, partition) in enumerate(order)]
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=3)) | {0, len(order)})
    return [messages[start:end] for start, end in itertools.pairwise(cuts)]


def spoken(messages: Sequence[Message]) -> list[Said]:
    """What messages say, read from themselves."""
    found: list[Said] = []
    for item in messages:
        assert item.key is not None
        if item.payload is None:
            found.append(Said(item.key.decode(), int((item.sent - EPOCH).total_seconds()) // 60, None))
        else:
            at = pl.select(pl.lit(item.payload.decode()).str.json_path_match("$.at").str.to_datetime(time_zone="UTC"))
            region = "eu" if b'"region": "eu"' in item.payload else "us"
            found.append(Said(item.key.decode(), int((at.item() - EPOCH).total_seconds()) // 60, region))
    return found


def held(lake: Lake) -> list[Said]:
    """What Silver says, sorted; with the values and the table partition that belong to it."""
    found: list[Said] = []
    for row in lake.silver.rows().collect().iter_rows(named=True):
        at = int(((row["at"] or row["_kafka_timestamp"]) - EPOCH).total_seconds()) // 60
        said = Said(row["id"], at, row["region"])
        assert row["_deleted"] == (said.region is None)
        assert row["level"] == (None if said.region is None else said.at + len(said.region))
        assert row["event_date"] == (None if said.region is None else row["at"].date())
        found.append(said)
    return sorted(found, key=str)


def of(lake: Lake) -> Account:
    return account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="")


def test_any_order_and_batching_gives_the_same_rows(catalog: Catalog) -> None:
    @settings(max_examples=12)
    @given(deliveries())
    def check(batches: list[list[Message]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            lake = history(Path(folder), catalog)
            for index, batch in enumerate(batches):
                lake.arrive(*batch)
                if index % 2 == 0:
                    lake.refine()
            lake.refine()
            sent = spoken([item for batch in batches for item in batch])
            assert held(lake) == sorted(set(sent), key=str)
            assert doubled_keys(lake.dataset, lake.silver) == 0
            found = of(lake)
            assert (found.accounted, found.problems, found.pending) == (True, (), 0)
            events, deletes = [item for item in sent if item.region], [item for item in sent if not item.region]
            assert (found.silver_rows, found.superseded) == (len(set(events)), len(events) - len(set(events)))
            assert found.tombstones == len(deletes)

    check()


def test_a_second_look_at_all_of_it_changes_nothing(lake: Lake) -> None:
    said = [Said("a", 0, "eu"), Said("a", 5, None), Said("a", 5, "eu"), Said("a", DAY, "eu"), Said("a", 7, None)]
    lake.arrive(*(message(offset, item) for offset, item in enumerate(said)))
    lake.refine()
    before = lake.silver.rows().collect().sort("_kafka_offset")
    lake.arrive(*(message(offset + 10, item) for offset, item in enumerate(said)))
    list(refine(lake.dataset, storage=lake.storage, keys=None, afresh=True))
    assert lake.silver.rows().collect().sort("_kafka_offset").equals(before)
    assert len(before) == len(said)


def test_a_delete_touches_no_table_partition_of_its_key(lake: Lake) -> None:
    lake.arrive(message(0, Said("a", 0, "eu")), message(1, Said("b", DAY, "us")))
    lake.refine()
    files = set(lake.silver.files()["path"])
    lake.arrive(message(2, Said("a", 9, None)))
    (done,) = refine(lake.dataset, storage=lake.storage, keys=None)
    assert (done.written, done.superseded, done.deleted) == ({Key(None, None): 1}, 0, 1)
    assert files < set(lake.silver.files()["path"])


def test_sql_sees_every_version_and_every_delete(lake: Lake) -> None:
    lake.arrive(message(0, Said("a", 9, None)), message(1, Said("a", 5, "eu")), message(2, Said("a", 0, "us")))
    lake.refine()
    sql = "SELECT region, _deleted, epoch(_version_time - TIMESTAMPTZ '2026-01-01')::INT // 60 AS minute"
    rows = query(f"{sql} FROM silver.readings ORDER BY minute", catalog=lake.catalog, storage=lake.storage).rows()
    assert rows == [("us", False, 0), ("eu", False, 5), (None, True, 9)]


def test_every_version_of_a_subject_is_erased_and_its_deletes(lake: Lake) -> None:
    said = [Said("a", 0, "eu"), Said("a", DAY, "us"), Said("a", 9, None), Said("b", 0, "eu"), Said("b", 9, None)]
    lake.arrive(*(message(offset, item) for offset, item in enumerate(said)))
    lake.refine()
    subject = Subject.of(lake.dataset, {"id": "a"})
    found = find(lake.dataset, subject, storage=lake.storage)
    assert found.rows == {"bronze": 3, "quarantine": 0, "silver": 3}
    erase(lake.dataset, subject, found, by="me", catalog=lake.catalog, storage=lake.storage, report=lambda _: None)
    assert held(lake) == sorted(said[3:], key=str)


def test_versions_whose_messages_have_expired_keep_their_place_and_are_missed_if_silver_loses_them(lake: Lake) -> None:
    said = [Said("a", 0, "eu"), Said("a", 0, "eu"), Said("a", 5, "eu"), Said("a", 9, None), Said("a", DAY, "us")]
    lake.arrive(*(message(offset, item) for offset, item in enumerate(said)))
    lake.refine()
    now = EPOCH + dt.timedelta(days=31, seconds=1)
    assert [done.places for done in expire(lake.dataset, storage=lake.storage, now=now)] == [
        {"silver_rows": 2, "superseded": 1}
    ]
    lake.arrive(message(5, said[2]))  # of a version that Bronze has no longer
    lake.refine()
    found = of(lake)
    assert (found.problems, found.expired, found.silver_rows, found.superseded, found.tombstones) == ((), 3, 3, 2, 1)
    rows = lake.silver.rows().filter(pl.col("_kafka_offset") != 0).collect()
    lake.silver.commit(rows, remove=lake.silver.files(), cursors={})
    assert of(lake).problems == ("1 offsets are neither in Silver, superseded, nor quarantined: 0/0",)


def test_two_major_versions_are_compared_version_by_version(lake: Lake) -> None:
    lake.arrive(message(0, Said("a", 0, "eu")), message(1, Said("a", 5, "eu")), message(2, Said("a", 9, None)))
    lake.refine()
    found = compare_rows(lake.dataset, lake.dataset, storage=lake.storage, sample=3)
    assert (found.same, found.rows) == (True, (2, 2))
