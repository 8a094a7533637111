"""The four retail streams from Kafka to Silver, with all their trouble, against what pandas makes of the producer's record."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd
import polars as pl
import pytest

from dagster_project.settings import PSEUDONYM_KEYS
from dagster_project.sources.retail.streams import STREAMS, Retail
from dagster_project.sources.retail.transport import Transport
from dagster_project.sources.retail.world import World
from tests.integration.lake import Lake
from tests.retail.frames import KEYS, deliveries, silver

# Few days, as each is three table partitions of every dataset.
WORLD = World(orders=100, seed=3, days=2, refunds=0.1, chargebacks=0.05)
TRANSPORT = Transport(order="near", duplicates=0.1, late=0.05, poison=0.05)
STREAM = pytest.mark.parametrize("name", STREAMS)
SECRET = "test:" + "a2V5" * 11


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A stream that is in Silver, and what was sent of it."""

    lake: Lake
    sent: pd.DataFrame


@pytest.fixture(scope="module")
def arrived(make_lake: Callable[[str], Lake], registry: str) -> Iterator[Mapping[str, Arrived]]:
    found: dict[str, Arrived] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PSEUDONYM_KEYS, SECRET)
        for name in STREAMS:
            lake = replace(make_lake(name), registry=registry)
            stream = Retail(dataset=lake.dataset, world=WORLD, transport=TRANSPORT)
            published = lake.produce(stream)
            assert (published.produced, lake.produce(stream).produced) == (len(stream), 0)
            lake.ingest()
            lake.refine()
            found[name] = Arrived(lake=lake, sent=deliveries(published.oracle))
        yield found


@STREAM
def test_silver_is_the_oracle(arrived: Mapping[str, Arrived], name: str) -> None:
    wanted = silver(arrived[name].sent, name)
    found = arrived[name].lake.silver()
    key, _ = KEYS[name]
    if name == "customers":  # of a delete, when it was sent is when it happened
        found = found.with_columns(pl.coalesce("event_time", "_kafka_timestamp").alias("event_time"))
    # What is confidential is a pseudonym; what it stands for is judged elsewhere.
    columns = [column.name for column in arrived[name].lake.dataset.columns if not column.protection]
    columns += ["event_date", "_kafka_partition", "_kafka_offset", "_deleted", "_late_us"]
    renamed = wanted.rename(columns={column.removeprefix("_"): column for column in columns if column[0] == "_"})
    expected = [plain(row) for row in renamed[columns].astype(object).to_dict("records")]
    rows = [plain(row) for row in found.sort(key).select(columns).to_dicts()]
    assert rows == expected


@STREAM
def test_everything_is_accounted_for_and_poison_is_where_it_belongs(arrived: Mapping[str, Arrived], name: str) -> None:
    lake, sent = arrived[name].lake, arrived[name].sent
    fates = Counter(sent["fate"])
    account = lake.account()
    quarantine = [
        table for place, table in lake.tables().items() if place == f"quarantine/{name}"
    ]  # none if no row is bad
    assert (account.accounted, account.problems) == (True, ())
    assert account.quarantined == fates["decode"] + fates["gate"]
    assert sum(table.rows().collect().height for table in quarantine) == fates["gate"]
    assert (
        account.silver_rows + account.tombstones + account.superseded
        == fates["valid"] + fates["delete"] + fates["duplicate"]
    )


def plain(row: Mapping[str, object]) -> dict[str, object]:
    """With one spelling of nothing and of time; of a delete, only what it has."""
    values = {name: value.to_pydatetime() if isinstance(value, pd.Timestamp) else value for name, value in row.items()}
    return {name: None if not isinstance(value, list) and pd.isna(value) else value for name, value in values.items()}
