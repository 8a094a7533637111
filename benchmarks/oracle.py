"""The oracle's files: what Silver and Gold must hold in the end, and how many events must end where."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.workload import Chunk

SILVER = (
    "order_id",
    "ordered_at",
    "event_time",
    "region",
    "status",
    "customer_id",
    "currency",
    "amount",
    "items",
    "note",
)
_GROUP = ("event_date", "region", "currency")


class Oracle:
    """Collects chunks into `silver.parquet`, `gold.parquet` and `counts.json` of a folder; holds no chunk in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._silver: pq.ParquetWriter | None = None
        self._gold: list[pl.DataFrame] = []
        self.counts = Counter[str]()

    def add(self, chunk: Chunk) -> None:
        rows = chunk.silver.select(SILVER).to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._silver is None:
            # No value comes often enough for a dictionary to be worth its time.
            self._silver = pq.ParquetWriter(
                self._folder / "silver.parquet", rows.schema, compression="lz4", use_dictionary=False
            )
        self._silver.write_table(rows)
        self._gold.append(_groups(chunk.silver))
        self.counts += chunk.counts

    def close(self) -> None:
        assert self._silver is not None, "a workload has events"
        self._silver.close()
        sums = pl.concat(self._gold).group_by(_GROUP).agg(pl.all().sum()).sort(_GROUP)
        # By way of text: money passes through no double.
        money = pl.format("{}.{}", pl.col("cents") // 100, (pl.col("cents") % 100).cast(pl.String).str.zfill(2))
        gold = sums.with_columns(revenue=money.str.to_decimal(scale=2).cast(pl.Decimal(18, 2))).drop("cents")
        gold.write_parquet(self._folder / "gold.parquet")
        text = json.dumps(self.counts, indent=2) + "\n"
        (self._folder / "counts.json").write_text(text, encoding="utf-8")


def counts(folder: Path) -> dict[str, int]:
    """How many events must end where, of a finished oracle."""
    return json.loads((folder / "counts.json").read_text(encoding="utf-8"))


def _groups(silver: pl.DataFrame) -> pl.DataFrame:
    """The mart of some orders: cancelled ones count only as cancelled."""
    kept = pl.col("status") != "cancelled"
    return silver.group_by(pl.col("ordered_at").dt.date().alias("event_date"), "region", "currency").agg(
        orders=kept.cast(pl.Int64).sum(),
        cancelled=(~kept).cast(pl.Int64).sum(),
        units=pl.col("units").filter(kept).sum(),
        cents=pl.col("cents").filter(kept).sum(),
    )
