"""Each message becomes one Bronze row of the right kind, in the order of arrival and beside its neighbours."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.bronze import place
from dagster_project.ingest.decode import Decoder
from tests.unit.lakes import Message, fetched, reading, tombstone


@pytest.fixture
def dataset(catalog: Catalog) -> Dataset:
    return catalog.datasets[0]


def placed(dataset: Dataset, *messages: Message) -> list[dict[str, object]]:
    return place(dataset, fetched(messages), Decoder(dataset.columns)).to_dicts()


def changed(message: Message, old: bytes, new: bytes) -> Message:
    assert message.payload is not None
    assert old in message.payload
    return replace(message, payload=message.payload.replace(old, new))


def test_kinds_and_order(dataset: Dataset) -> None:
    rows = placed(
        dataset,
        tombstone(0, "x"),
        reading(1, "a"),
        Message(offset=2, payload=b"?"),
        tombstone(3, "y"),
        reading(4, "b", region="us"),
    )
    assert [(row["_kafka_offset"], row["_kind"], row["id"]) for row in rows] == [
        (0, "tombstone", "x"),
        (1, "event", "a"),
        (2, "poison", None),
        (3, "tombstone", "y"),
        (4, "event", "b"),
    ]
    day = dt.date(2026, 1, 1)
    assert [(row["event_date"], row["region"]) for row in rows] == [
        (None, None),
        (day, "eu"),
        (None, None),
        (None, None),
        (day, "us"),
    ]
    assert rows[2]["_payload"] == b"?"
    assert [row["_error"] is None for row in rows] == [True, True, False, True, True]


def test_an_event_without_a_place_is_poison_and_keeps_its_payload(dataset: Dataset) -> None:
    horizon = "placed.horizon: outside 2026-01-01 to the day after it was sent"
    cases = {
        "region.enum: not one of eu, us": changed(reading(0), b'"eu"', b'"mars"'),
        "region.required: missing": changed(reading(0), b'"eu"', b"null"),
        "id.required: missing": changed(reading(0), b'"a"', b"null"),
        "at.required: missing": changed(reading(0), b'"at"', b'"when"'),
        horizon: changed(reading(0), b"2026-01-01T12", b"2025-12-31T12"),
    }
    ahead = changed(reading(0), b"2026-01-01T12", b"2026-01-03T00")
    rows = placed(dataset, *cases.values(), ahead)
    assert [row["_error"] for row in rows] == [*cases, horizon]
    for row in rows:
        assert row["_kind"] == "poison"
        assert {row[name] for name in ("id", "at", "placed", "region", "level", "event_date")} == {None}
        assert row["_payload"] is not None


def test_the_horizon_is_the_day_after_the_message_was_sent_whatever_the_clock_here_says(dataset: Dataset) -> None:
    sent = dt.datetime(2099, 6, 30, 0, 30, tzinfo=dt.UTC)
    days = [b"2099-07-01T23:59", b"2099-07-02T00:00", b"2026-01-01T00:00"]
    messages = [changed(reading(0), b"2026-01-01T12:00", day) for day in days]
    rows = placed(dataset, *(replace(message, offset=offset, sent=sent) for offset, message in enumerate(messages)))
    assert [row["_kind"] for row in rows] == ["event", "poison", "event"]
    assert rows[0]["event_date"] == dt.date(2099, 7, 1)


def test_the_date_is_that_of_utc(dataset: Dataset) -> None:
    (row,) = placed(dataset, changed(reading(0, day=3), b"2026-01-03T12:00:00+00:00", b"2026-01-03T01:00:00+02:00"))
    assert row["event_date"] == dt.date(2026, 1, 2)


def test_nothing_is_deleted_from_an_append_only_dataset(dataset: Dataset) -> None:
    row, keyless = placed(replace(dataset, write_mode="append"), tombstone(0), Message(offset=1, payload=None))
    assert (row["_kind"], row["id"]) == ("poison", None)
    assert row["_error"] == keyless["_error"] == "payload.null: nothing can be deleted from an append-only dataset"


def test_a_delete_without_a_key_is_poison(dataset: Dataset) -> None:
    (row,) = placed(dataset, Message(offset=0, payload=None))
    assert (row["_kind"], row["_error"]) == ("poison", "key.parts: found 0, expected 1 joined with '|'")


def test_nothing_fetched_is_no_rows(dataset: Dataset) -> None:
    assert placed(dataset) == []
