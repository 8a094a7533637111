"""Sums of floats depend on the order of what is summed, and a mart does not: however its rows came, it is the same bit for bit."""

from __future__ import annotations

import random
from functools import reduce
from operator import add
from pathlib import Path

from tests.unit.lakes import CONTRACT, Lake, Message, reading
from tests.unit.marts.world import DATE, REGION, mart, world_catalog

SQL = (
    "SELECT event_date, region, sum(level) AS total, stddev(level) AS spread, avg(sqrt(level)) AS mean "
    "FROM silver.readings GROUP BY ALL"
)
FILES = {
    "readings.odcs.yaml": CONTRACT.replace("name: level, logicalType: integer", "name: level, logicalType: number"),
    **mart(
        "sums",
        SQL,
        inputs="[readings]",
        columns=(DATE, REGION, *(f"{{name: {name}, logicalType: number}}" for name in ("total", "spread", "mean"))),
    ),
}


def messages(seed: int) -> list[Message]:
    values = random.Random(seed)
    events = [reading(number, f"k{number}") for number in range(200)]
    return [
        Message(
            offset=event.offset,
            payload=(event.payload or b"").replace(b'"level": 1}', b'"level": %r}' % (10 ** values.uniform(-3, 3))),
            key=event.key,
            sent=event.sent,
        )
        for event in events
    ]


def test_the_order_in_which_rows_came_is_not_to_be_seen(tmp_path: Path) -> None:
    catalog = world_catalog(tmp_path / "contracts", FILES)
    events = messages(7)
    found: list[tuple[object, ...]] = []
    for seed, size in ((1, 200), (2, 200), (3, 40)):
        lake = Lake.at(tmp_path / f"lake{seed}", catalog=catalog)
        shuffled = random.Random(seed).sample(events, len(events))
        for start in range(0, len(shuffled), size):
            lake.arrive(*shuffled[start : start + size])
            lake.refine()
        lake.compute()
        found += lake.gold.rows().collect().rows()
    assert len(found) == 3
    assert len(set(found)) == 1
    # In the order in which they came the sums are others.
    values = [float((event.payload or b"").rpartition(b":")[2].strip(b" }")) for event in events]
    assert len({reduce(add, random.Random(seed).sample(values, len(values))) for seed in (1, 2, 3)}) > 1
