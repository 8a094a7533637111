"""Choosing letters by an SQL predicate."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from dagster_project.errors import LakeError
from dagster_project.outbox.letters import SCHEMA, where

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def letters() -> pl.DataFrame:
    row = {
        "topic": "t", "topic_id": "i", "_kafka_partition": 0, "_error": "region.enum: not one of eu, us",
        "_correlation_id": "c", "_batch_id": 1, "_key": b"k", "_payload": b"\xff", "origin": "t/0/0",
        "_headers": [{"key": "tenant", "value": b"a"}], "dlq_partition": 0, "dlq_offset": 1, "written_at": NOW,
    }  # fmt: skip
    rows = [{**row, "_kafka_offset": offset, "attempt": offset % 3} for offset in range(9)]
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.lit(None, SCHEMA["written_at"]).alias("replayed_at"))


@pytest.mark.parametrize(
    ("predicate", "offsets"),
    [
        (None, list(range(9))),
        ("_kafka_offset > 6", [7, 8]),
        ("attempt = 0 AND _error LIKE 'region.%'", [0, 3, 6]),
        ("_payload = '\\xFF'::BLOB", list(range(9))),
        ("_headers[1].key = 'tenant' AND _kafka_offset = 2 -- only that", [2]),
        ("written_at < '2026-01-01 00:00:01+00' AND _kafka_offset < 1", [0]),
        ("replayed_at > now()", []),  # null is not true
        ("false OR _kafka_offset = 1", [1]),
    ],
)
def test_letters_for_which_it_is_true(letters: pl.DataFrame, predicate: str | None, offsets: list[int]) -> None:
    chosen = where(letters, predicate)
    assert chosen["_kafka_offset"].to_list() == offsets
    assert chosen.schema == letters.schema


@pytest.mark.parametrize("predicate", ["_offset > 6", "_kafka_offset >", "1); DROP TABLE x; --", "_error"])
def test_a_predicate_that_does_not_run_is_answered_with_the_columns(letters: pl.DataFrame, predicate: str) -> None:
    with pytest.raises(LakeError) as caught:
        where(letters, predicate)
    assert predicate in caught.value.found
    assert "_kafka_offset" in caught.value.expected
    assert "--where" in caught.value.remedy


def test_a_predicate_reaches_no_file(letters: pl.DataFrame, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(LakeError, match="does not run"):
        where(letters, f"(SELECT count(*) FROM read_csv('{secret}')) > 0")
    with pytest.raises(LakeError, match="does not run"):
        where(letters, f"(SELECT count(*) FROM '{secret}') > 0")
