"""Through a real broker: a hot key is spread over Kafka partitions, and each other key stays in one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from dagster_project.ingest.hot_keys import KeyCounts
from dagster_project.sources.ndjson import Sample
from tests.integration.lake import own_lake

VIEWS, BOT = 600, "bot-0001"


def test_a_declared_hot_key_is_spread_and_found_and_each_row_is_there_once(bootstrap: str, tmp_path: Path) -> None:
    lake = own_lake("page_views", servers=bootstrap, uri=str(tmp_path / "lake"), home=tmp_path)
    lake.create_topic()
    views = [
        {
            "view_id": f"view-{number}",
            "visitor_id": BOT if number % 10 < 3 else f"visitor-{number % 37}",
            "region": "eu",
            "event_time": f"2026-06-01T12:{number // 60:02d}:{number % 60:02d}Z",
            "page": "home",
        }
        for number in range(VIEWS)
    ]
    sample = Sample(dataset=lake.dataset, lines=tuple(json.dumps(view).encode() for view in views))
    lake.produce(sample)
    keys = sum((batch.keys for batch in lake.ingest()), KeyCounts())
    assert (keys.rows, keys.counts[BOT]) == (VIEWS, VIEWS * 3 // 10)

    rows = lake.bronze().select("visitor_id", "_kafka_partition", "_key").rows()
    partitions = {visitor: Counter(where for who, where, _ in rows if who == visitor) for visitor, _, _ in rows}
    spread = partitions.pop(BOT)
    assert len(spread) > 2
    assert {len(places) for places in partitions.values()} == {1}
    assert {key for who, _, key in rows if who == BOT} == {f"{BOT}|{salt}".encode() for salt in range(8)}
    lake.refine()
    assert sorted(lake.silver()["view_id"]) == sorted(view["view_id"] for view in views)
