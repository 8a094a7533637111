"""The oracle's arithmetic, on cases small enough to judge by hand."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dagster_project.errors import LakehouseError
from dagster_project.sources.oracle import Record, Revenue, expected, read, revenue_daily


def record(offset: int, key: str | None = "a", minute: int = 0, **other: Any) -> Record:
    plain = Record(
        index=offset,
        partition=0,
        offset=offset,
        kind="valid",
        late=False,
        trouble="",
        key=key,
        event_time=f"2026-06-01T10:{minute:02d}:00Z",
        value={},
    )
    return replace(plain, **other)


def order(**other: Any) -> dict[str, Any]:
    return {
        "ordered_at": "2026-06-01T23:59:59.999999Z",
        "region": "eu",
        "currency": "EUR",
        "status": "paid",
        "amount": Decimal("0.10"),
        "items": [{"sku": "A-1", "quantity": 1, "unit_price": Decimal("0.10")}],
    } | other


def test_the_newest_event_time_holds_whenever_it_arrives() -> None:
    result = expected([record(0, minute=1), record(1, minute=9), record(2, minute=5)])
    assert result.rows["a"].offset == 1
    assert result.outcomes == {(0, 0): "superseded", (0, 1): "silver", (0, 2): "superseded"}


def test_with_equal_event_times_the_later_offset_holds() -> None:
    result = expected([record(7, minute=1), record(3, minute=1, kind="duplicate")])
    assert result.outcomes == {(0, 3): "duplicate", (0, 7): "silver"}


def test_a_duplicate_of_an_old_version_is_a_duplicate_and_its_last_copy_superseded() -> None:
    result = expected([record(0, minute=1), record(1, minute=2), record(2, minute=1, kind="duplicate")])
    assert result.outcomes == {(0, 0): "duplicate", (0, 1): "silver", (0, 2): "superseded"}


def test_event_times_are_compared_as_moments_and_not_as_text() -> None:
    whole = replace(record(0), event_time="2026-06-01T10:00:00Z")
    fraction = replace(record(1), event_time="2026-06-01T10:00:00.5Z")
    assert expected([fraction, whole]).rows["a"].offset == 1


def test_poison_takes_no_part() -> None:
    result = expected(
        [
            record(0, minute=1),
            record(1, minute=9, kind="gate"),
            record(2, key=None, kind="decode", value=None),
            record(0, key="b", minute=2, partition=1),
        ]
    )
    assert {key: row.place for key, row in result.rows.items()} == {"a": (0, 0), "b": (1, 0)}
    assert result.counts == {"silver": 2, "gate": 1, "decode": 1}
    assert result.places("gate") == {(0, 1)}


def test_late_rows_count_once() -> None:
    late = [record(1, minute=1, late=True), record(2, minute=1, late=True, kind="duplicate")]
    result = expected([record(0, minute=30), *late])
    assert result.late == 1


def test_samples_are_nothing_it_can_judge() -> None:
    with pytest.raises(LakehouseError, match="is a sample"):
        expected([record(0, kind="sample")])


def test_revenue_is_exact_and_leaves_out_what_was_cancelled() -> None:
    two = [{"quantity": 2}, {"quantity": 3}]
    rows = [
        record(0, value=order()),
        record(1, value=order(amount=Decimal("0.20"), items=two)),
        record(2, value=order(status="cancelled", amount=Decimal(99))),
        record(3, value=order(ordered_at="2026-06-02T00:00:00.000000Z", amount=7)),
        record(4, value=order(region="apac", currency="JPY", status="cancelled")),
    ]
    first, second = dt.date(2026, 6, 1), dt.date(2026, 6, 2)
    assert revenue_daily(rows) == {
        (first, "eu", "EUR"): Revenue(orders=2, cancelled=1, units=6, revenue=Decimal("0.30")),
        (second, "eu", "EUR"): Revenue(orders=1, cancelled=0, units=1, revenue=Decimal(7)),
        (first, "apac", "JPY"): Revenue(orders=0, cancelled=1, units=0, revenue=Decimal(0)),
    }


def test_a_log_is_read_without_rounding(tmp_path: Path) -> None:
    text = json.dumps(asdict(replace(record(4), value=None))).replace(
        '"value": null', '"value": {"amount": 123456789012345.67}'
    )
    (tmp_path / "log.ndjson").write_text(text + "\n", encoding="utf-8")
    (found,) = read(tmp_path / "log.ndjson")
    assert found.value == {"amount": Decimal("123456789012345.67")}
    assert found.place == (0, 4)
