"""The verdict: the tables against the oracle, offset by offset, row by row and value by value."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from dagster_project.sources import oracle
from tests.chaos.letters import letters
from tests.chaos.scene import Scene

# Places of damage that a verdict names of each kind.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Attributes: numbers of offsets, rows, groups and values; `problems` says where."""

    lost: int = 0
    duplicated: int = 0
    mismatched: int = 0
    problems: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not self.problems

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            lost=self.lost + other.lost,
            duplicated=self.duplicated + other.duplicated,
            mismatched=self.mismatched + other.mismatched,
            problems=self.problems + other.problems,
        )


def arrived(scene: Scene) -> bool:
    """Whether Bronze has as many rows as were delivered: cheap, and no verdict is worth its price before."""
    log = scene.tables.log("bronze/orders")
    rows = 0 if log is None or log.is_empty() else int(log["num_records"].sum())
    return rows >= len(scene.records())


def judge(scene: Scene) -> Verdict:
    records = scene.records()
    expected = oracle.expected(records)
    bronze, silver, quarantine, gold = (
        scene.tables.rows(name)
        for name in ("bronze/orders", "silver/orders", "quarantine/orders", "gold/revenue_daily")
    )
    poison = bronze if bronze.is_empty() else bronze.filter(pl.col("_kind") == "poison")
    return (
        _places("bronze", bronze, {record.place for record in records})
        + _places("poison", poison, expected.places("decode"))
        + _places("quarantine", quarantine, expected.places("gate"))
        + _compared("letters", letters(scene), expected.places("decode"))
        + _values("silver", _silver(silver), {key: _row(record) for key, record in expected.rows.items()})
        + _values(
            "gold",
            _gold(gold),
            {group: asdict(revenue) for group, revenue in oracle.revenue_daily(expected.rows.values()).items()},
        )
    )


def _places(where: str, frame: pl.DataFrame, wanted: set[oracle.Place]) -> Verdict:
    rows = () if frame.is_empty() else frame.select("_kafka_partition", "_kafka_offset").iter_rows()
    return _compared(where, Counter(rows), wanted)


def _compared(where: str, found: Counter[Any], wanted: Iterable[Hashable]) -> Verdict:
    wanted = set(wanted)
    lost = wanted - found.keys()
    strays = found.keys() - wanted
    doubled = {key: count - 1 for key, count in found.items() if count > 1}
    problems = {"lost": lost, "never sent": strays, "doubled": doubled.keys()}
    return Verdict(
        lost=len(lost),
        duplicated=sum(doubled.values()),
        mismatched=len(strays),
        problems=tuple(_named(where, kind, keys) for kind, keys in problems.items() if keys),
    )


def _values(where: str, found: list[tuple[Hashable, dict[str, Any]]], wanted: Mapping[Any, dict[str, Any]]) -> Verdict:
    keys = _compared(where, Counter(key for key, _ in found), wanted)
    wrong = {
        f"{key}: {name}": None
        for key, row in found
        if key in wanted
        for name, value in wanted[key].items()
        if row[name] != value
    }
    problems = (_named(where, "wrong value", wrong),) if wrong else ()
    return keys + Verdict(mismatched=len(wrong), problems=problems)


def _named(where: str, kind: str, keys: Iterable[Hashable]) -> str:
    names = sorted(map(str, keys))
    return f"{where}: {len(names)} {kind}: {'; '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"


def _silver(frame: pl.DataFrame) -> list[tuple[Hashable, dict[str, Any]]]:
    if frame.is_empty():
        return []
    return [(row["order_id"], row) for row in frame.filter(~pl.col("_deleted")).iter_rows(named=True)]


def _gold(frame: pl.DataFrame) -> list[tuple[Hashable, dict[str, Any]]]:
    return [
        ((dt.date.fromisoformat(row["event_date"]), row["region"], row["currency"]), row)
        for row in frame.iter_rows(named=True)
    ]


def _row(record: oracle.Record) -> dict[str, Any]:
    """The Silver row of a record: the contract's columns as they were sent, its table partition and its place."""
    value = record.value
    assert value is not None
    return {
        **value,
        "note": value.get("note"),
        "ordered_at": dt.datetime.fromisoformat(value["ordered_at"]),
        "event_time": dt.datetime.fromisoformat(value["event_time"]),
        "event_date": value["ordered_at"][:10],
        "_kafka_partition": record.partition,
        "_kafka_offset": record.offset,
    }
