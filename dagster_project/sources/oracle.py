"""The oracle: what the tables must hold in the end, from the delivery log alone and with nothing of the platform.

After a producer was killed, its log is exact again once the same stream was published to its end.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from dagster_project.errors import LakehouseError

# silver: the row of its key. superseded: a version of that row which a newer event time replaced. duplicate: the same
# version came once more, at a later offset. decode, gate: quarantined at that stage.
Outcome = Literal["silver", "superseded", "duplicate", "decode", "gate"]
Place = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of the delivery log. `value` has decimals as `Decimal`; it is `None` where nothing can be decoded."""

    index: int
    partition: int
    offset: int
    kind: str
    late: bool
    trouble: str
    key: str | None
    event_time: str | None
    value: dict[str, Any] | None

    @property
    def place(self) -> Place:
        """Kafka partition and offset."""
        return self.partition, self.offset

    @property
    def version(self) -> tuple[dt.datetime, int]:
        """Of two events with one key, the one with the greater version holds: event time, then offset."""
        if self.event_time is None:
            raise LakehouseError(f"event {self.index} of the delivery log is called {self.kind}, but has no event time")
        return dt.datetime.fromisoformat(self.event_time), self.offset


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What must become of the delivered events.

    Attributes:
        rows: the record that each key's Silver row comes from.
        outcomes: the one place where each offset ends.
        late: valid events beyond the allowed lateness when they were sent, duplicates not counted.
    """

    rows: Mapping[str, Record]
    outcomes: Mapping[Place, Outcome]
    late: int

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(self.outcomes.values())

    def places(self, outcome: Outcome) -> set[Place]:
        return {place for place, found in self.outcomes.items() if found == outcome}


@dataclass(frozen=True, kw_only=True)
class Revenue:
    """One row of the mart `revenue_daily`: cancelled orders count only as cancelled."""

    orders: int = 0
    cancelled: int = 0
    units: int = 0
    revenue: Decimal = Decimal(0)


def read(*logs: Path) -> Iterator[Record]:
    """All records of the delivery logs of one topic."""
    for log in logs:
        with log.open(encoding="utf-8") as lines:
            for line in lines:
                yield Record(**json.loads(line, parse_float=Decimal))


def expected(records: Iterable[Record]) -> Expected:
    """Judge the records of one topic, in any order.

    Raises:
        LakehouseError: a record was written by hand, so its fate is not known.
    """
    rows: dict[str, Record] = {}
    outcomes: dict[Place, Outcome] = {}
    late = 0
    versions: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.kind in ("decode", "gate"):
            outcomes[record.place] = record.kind
        elif record.kind in ("sample", "delete") or record.key is None:
            raise LakehouseError(
                f"event {record.index} of the delivery log is a {record.kind}",
                expected="generated rows only, of which it is known what must become of them",
                remedy="keep samples and deletes out of a topic that this oracle judges",
            )
        else:
            versions[record.key].append(record)
            late += record.late and record.kind == "valid"
    for key, candidates in versions.items():
        candidates.sort(key=lambda record: record.version)
        for older, newer in pairwise(candidates):
            outcomes[older.place] = "duplicate" if older.version[0] == newer.version[0] else "superseded"
        rows[key] = candidates[-1]
        outcomes[rows[key].place] = "silver"
    return Expected(rows=rows, outcomes=outcomes, late=late)


def revenue_daily(rows: Iterable[Record]) -> dict[tuple[dt.date, str, str], Revenue]:
    """The mart of these Silver rows of orders, by date, region and currency."""
    groups: defaultdict[tuple[dt.date, str, str], list[dict[str, Any]]] = defaultdict(list)
    for order in (row.value for row in rows if row.value is not None):
        # Times are UTC, so their first ten characters are the date.
        date = dt.date.fromisoformat(order["ordered_at"][:10])
        groups[date, order["region"], order["currency"]].append(order)
    return {group: _revenue(orders) for group, orders in groups.items()}


def _revenue(orders: list[dict[str, Any]]) -> Revenue:
    kept = [order for order in orders if order["status"] != "cancelled"]
    return Revenue(
        orders=len(kept),
        cancelled=len(orders) - len(kept),
        units=sum(item["quantity"] for order in kept for item in order["items"]),
        revenue=sum((Decimal(order["amount"]) for order in kept), Decimal(0)),
    )
