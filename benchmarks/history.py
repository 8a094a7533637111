"""Thirty days of page views and orders in five regions, as the topics would have given them, and single late ones."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Mart
from dagster_project.ingest.bronze import place
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.fetch import Fetched
from dagster_project.ingest.lateness import cursors_of, measure, newest_events
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.settings import REPOSITORY

REGIONS = ("eu", "us", "apac", "latam", "mea")
START, DAYS = dt.date(2026, 6, 1), 30
STREAMS = ("customers", "orders", "page_views")
# As many partitions as the topics have; visitors that view five pages, a minute apart in the mean; a shop's customers.
_PARTITIONS, _VIEWS, _GAP_US, CUSTOMERS = 8, 5, 120_000_000, 20_000
_DAY_US = 86_400_000_000
_DECLARED = "enum: [{value: eu}, {value: us}, {value: apac}]"


@dataclass(frozen=True, kw_only=True)
class History:
    """A lake of the project's own contracts, of more regions; `rows` are how many a day has."""

    catalog: Catalog
    storage: Storage
    rows: Mapping[str, int]

    @classmethod
    def at(cls, folder: Path, *, rows: Mapping[str, int]) -> History:
        contracts = folder / "contracts"
        if not contracts.exists():
            shutil.copytree(REPOSITORY / "contracts", contracts)
            for name in STREAMS:
                path = contracts / f"{name}.odcs.yaml"
                wider = ", ".join(f"{{value: {region}}}" for region in REGIONS)
                path.write_text(path.read_text().replace(_DECLARED, f"enum: [{wider}]"))
        catalog = load_catalog(contracts)
        marts = tuple(mart for mart in catalog.marts if catalog.origins(mart) <= set(STREAMS))
        catalog = Catalog(datasets=tuple(map(catalog.dataset, STREAMS)), marts=marts)
        return cls(catalog=catalog, storage=Storage.at(str(folder / "lake")), rows=rows)

    @property
    def marts(self) -> tuple[Mart, ...]:
        return self.catalog.marts

    def arrive(self, name: str, events: pl.DataFrame, *, sent: dt.datetime | None = None) -> None:
        """One Bronze batch of events, in order of their time; `sent`: all at this moment."""
        dataset = self.catalog.dataset(name)
        bronze = Table.open(specs.bronze(dataset), storage=self.storage)
        before = Cursor.from_table(bronze.cursors())
        following = dict.fromkeys(range(_PARTITIONS), 0) if before is None else dict(before.next)
        time = pl.col("event_time")
        moments = [name for name, dtype in events.schema.items() if dtype.is_temporal()]
        partition = pl.int_range(pl.len(), dtype=pl.Int32) % _PARTITIONS
        messages = events.sort("event_time").select(
            partition.alias("_kafka_partition"),
            (partition.replace_strict(following, return_dtype=pl.Int64) + pl.int_range(pl.len()) // _PARTITIONS).alias(
                "_kafka_offset"
            ),
            (time if sent is None else pl.lit(sent))
            .cast(specs.COORDINATES["_kafka_timestamp"])
            .alias("_kafka_timestamp"),
            pl.format("{}-{}", pl.lit(name), pl.int_range(pl.len())).alias("_correlation_id"),
            pl.first().cast(pl.String).cast(pl.Binary).alias("_key"),
            pl.struct(pl.all().exclude(moments), *(pl.col(name).dt.to_string("iso:strict") for name in moments))
            .struct.json_encode()
            .cast(pl.Binary)
            .alias("_payload"),
            pl.lit([], specs.MESSAGE["_headers"]).alias("_headers"),
        )
        ends = messages.group_by("_kafka_partition").agg(pl.col("_kafka_offset").max() + 1).iter_rows()
        after = {**following, **dict(ends)}
        rows = place(dataset, Fetched(messages=messages, next=after, caught_up=True), Decoder(dataset.columns))
        late, moved = measure(dataset, rows, newest_events(bronze.cursors()))
        batch = 0 if before is None else before.batch_id + 1
        cursor = Cursor(
            cluster_id="history", topic_id=name, start=dict.fromkeys(following, 0), next=after, batch_id=batch
        )
        rows = rows.with_columns(late, _batch_id=pl.lit(batch, pl.Int64), _ingested_at=pl.col("_kafka_timestamp"))
        bronze.commit(rows, cursors={**cursor.to_table(), **cursors_of(moved)})

    def day(self, name: str, day: int) -> pl.DataFrame:
        """A day's events; the same at every call."""
        rng = np.random.default_rng((day, STREAMS.index(name)))
        events = {"page_views": _page_views, "orders": _orders}[name](rng, self.rows[name])
        begin = pl.lit(START + dt.timedelta(days=day)).cast(pl.Datetime("us", "UTC"))
        identity = pl.format(
            "{}{}", pl.lit(f"00000000-0000-4000-8{day:03}-"), pl.int_range(pl.len()).cast(pl.String).str.zfill(12)
        )
        events = events.select(identity.alias(events.columns[0]), pl.exclude(events.columns[0])).with_columns(
            event_time=begin + pl.col("event_time").cast(pl.Duration("us"))
        )
        return events if name == "page_views" else events.with_columns(ordered_at="event_time")

    def late(self, name: str, number: int) -> tuple[pl.DataFrame, int, str]:
        """A late event that nobody has seen, with the day and the region that it is of; another one by number."""
        day, region = DAYS // 3 + number, REGIONS[number % len(REGIONS)]
        event = self.day(name, day).filter(region=region).slice(number, 1)
        identity = event.columns[0]
        return event.with_columns(pl.lit(f"11111111-1111-4111-8111-{number:012}").alias(identity)), day, region


def customers() -> pl.DataFrame:
    """A record of each customer, as old as the history."""
    numbers = pl.Series(np.arange(CUSTOMERS))
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "customer_id": "customer-" + numbers.cast(pl.String),
            "event_time": pl.repeat(START, CUSTOMERS, eager=True).cast(pl.Datetime("us", "UTC")),
            "region": rng.choice(REGIONS, CUSTOMERS),
            "segment": rng.choice(["consumer", "business", "vip"], CUSTOMERS),
            "country": rng.choice(["DE", "US", "JP", "BR", "AE"], CUSTOMERS),
        }
    )


def _page_views(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    visits = -(-rows // _VIEWS)
    begun = np.repeat(rng.integers(0, _DAY_US - _VIEWS * _GAP_US, visits), _VIEWS)[:rows]
    gap = np.tile(np.arange(_VIEWS), visits)[:rows] * _GAP_US // 2 + rng.integers(0, _GAP_US // 2, rows)
    page = rng.choice(["home", "search", "product", "cart", "checkout"], rows)
    sku = pl.Series(rng.integers(0, 500, rows)).cast(pl.String).str.zfill(4)
    return pl.DataFrame(
        {
            "view_id": pl.Series(np.arange(rows)),
            "visitor_id": "visitor-"
            + pl.Series(np.repeat(rng.integers(0, 100_000, visits), _VIEWS)[:rows]).cast(pl.String),
            "region": np.repeat(rng.choice(REGIONS, visits), _VIEWS)[:rows],
            "event_time": begun + gap,
            "page": page,
            "sku": pl.select(pl.when(pl.Series(page) == "product").then("SKU-" + sku)).to_series(),
            "duration_ms": rng.integers(0, 60_000, rows),
        }
    )


def _orders(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    sku, price = rng.integers(0, 500, rows), rng.integers(100, 10_000, rows)
    line = pl.DataFrame(
        {
            "sku": "SKU-" + pl.Series(sku).cast(pl.String).str.zfill(4),
            "quantity": rng.integers(1, 5, rows),
            "unit_price": price / 100,
        }
    ).to_struct()
    return pl.DataFrame(
        {
            "order_id": pl.Series(np.arange(rows)),
            "event_time": rng.integers(0, _DAY_US, rows),
            "region": rng.choice(REGIONS, rows),
            "status": rng.choice(["created", "paid", "shipped", "cancelled"], rows),
            "customer_id": "customer-" + pl.Series(rng.integers(0, CUSTOMERS, rows)).cast(pl.String),
            "currency": rng.choice(["EUR", "USD", "JPY"], rows),
            "amount": price / 100,
            "items": pl.select(pl.concat_list(pl.lit(line))).to_series(),
        }
    )
