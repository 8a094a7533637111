"""Whether a Bronze commit takes as long on an old table with thousands of commits and table partitions as on a young one."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import polars as pl

from benchmarks.figures import Outcome, rounded
from benchmarks.ground import CONTRACTS, Ground
from benchmarks.preload import PARTITIONS
from benchmarks.scenarios.opened import watching
from benchmarks.show import Show
from benchmarks.sizes import Sizes
from benchmarks.workload import Workload
from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset
from dagster_project.ingest.bronze import place
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.fetch import Fetched
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table

# Rows of a commit: what a quiet topic gives.
_ROWS = 100
# Versions of the young table that are timed, around 50; of the old one, as many at its end.
_YOUNG = range(30, 71)
_OPENS = 5


def run(ground: Ground, sizes: Sizes, show: Show) -> Outcome:
    (dataset,) = load_catalog(CONTRACTS / "retail").datasets
    rows = _rows(dataset)
    each = sizes.table_partitions // sizes.commits
    with ExitStack() as stack:
        young, old = (
            _Growing(stack, dataset, rows, Storage.at(str(ground.home / f"{name}-lake")), each=each)
            for name in ("young", "old")
        )
        with show.bar(f"{sizes.commits:,} commits", sizes.commits) as report:
            for _ in range(sizes.commits - len(_YOUNG)):
                old.commit()
                report(1)
        for _ in range(_YOUNG.start):
            young.commit()
        # By turns, so that a machine's moods befall both.
        pairs = [(young.commit(), old.commit()) for _ in _YOUNG]
        opens = {"young": young.open_ms(), "old": old.open_ms()}
    young_ms, old_ms = ([pair[place].milliseconds for pair in pairs] for place in (0, 1))
    growth = sorted(one / median(young_ms) for one in old_ms)
    quarter = len(growth) // 4
    show.say(f"commits: {median(young_ms):.1f} ms when young, {median(old_ms):.1f} ms at version {sizes.commits:,}")
    return Outcome(
        figures={"commit_growth": rounded(median(growth))},
        # Single commits meet a checkpoint or the disk: the middle half of them.
        spread={"commit_growth": (rounded(growth[quarter]), rounded(growth[-quarter - 1]))},
        details={
            "commits": sizes.commits,
            "table_partitions": each * sizes.commits,
            "young_ms": rounded(median(young_ms)),
            "old_ms": rounded(median(old_ms)),
            "slowest_ms": rounded(max(old_ms)),
            "log_files_read_per_commit": [median(pair[place].reads for pair in pairs) for place in (0, 1)],
            "open_ms": opens,
        },
    )


class _Commit(NamedTuple):
    milliseconds: float
    reads: int


class _Growing:
    """A Bronze table that grows commit by commit, each with rows of table partitions that it did not have."""

    def __init__(self, stack: ExitStack, dataset: Dataset, rows: pl.DataFrame, storage: Storage, *, each: int) -> None:
        self._dataset, self._rows, self._storage, self._each = dataset, rows, storage, each
        self._table = Table.open(specs.bronze(dataset), storage=storage)
        self._reads = stack.enter_context(watching(Path(self._table.uri) / "_delta_log"))

    def commit(self) -> _Commit:
        version = self._table.version + 1
        batch = _moved(self._dataset, self._rows, version, range((version - 1) * self._each, version * self._each))
        cursor = Cursor(
            cluster_id="cluster",
            topic_id="topic",
            start=dict.fromkeys(range(PARTITIONS), 0),
            next=dict.fromkeys(range(PARTITIONS), version * _ROWS),
            batch_id=version,
        )
        self._reads.count()
        began = time.perf_counter()
        self._table.cursors()  # as an ingest does, to see that the table is still its own
        self._table.commit(batch, cursors=cursor.to_table(), metadata={"batch_id": version, "rows": len(batch)})
        return _Commit((time.perf_counter() - began) * 1000, self._reads.count())

    def open_ms(self) -> float:
        """What it takes to open the table, as each run and each look of a sensor does."""
        times: list[float] = []
        for _ in range(_OPENS):
            began = time.perf_counter()
            Table.find(specs.bronze(self._dataset), storage=self._storage)
            times.append((time.perf_counter() - began) * 1000)
        return rounded(median(times))


def _rows(dataset: Dataset) -> pl.DataFrame:
    """Rows of Bronze from the workload's own messages, but for their batch."""
    chunk = next(Workload(events=_ROWS * 10).chunks())
    payloads = chunk.segments[-1].messages["value"].head(_ROWS)
    messages = pl.DataFrame(
        {
            "_kafka_partition": pl.Series([number % PARTITIONS for number in range(_ROWS)], dtype=pl.Int32),
            "_kafka_offset": pl.Series(range(_ROWS), dtype=pl.Int64),
            "_kafka_timestamp": pl.Series([dt.datetime.now(dt.UTC)] * _ROWS, dtype=TIMESTAMP),
            "_correlation_id": pl.Series([None] * _ROWS, dtype=pl.String),
            "_key": chunk.segments[-1].messages["key"].head(_ROWS).cast(pl.Binary),
            "_payload": payloads,
            "_headers": pl.Series([[] for _ in range(_ROWS)], dtype=specs.MESSAGE["_headers"]),
        }
    )
    fetched = Fetched(messages=messages, next={}, caught_up=True)
    return place(dataset, fetched, Decoder(dataset.columns))


def _moved(dataset: Dataset, rows: pl.DataFrame, batch: int, partitions: range) -> pl.DataFrame:
    """The rows as a batch of their own, in other table partitions by turns."""
    turn = pl.int_range(pl.len()) % len(partitions) + partitions.start
    regions = pl.lit(pl.Series(dataset.regions))
    days = (turn // len(dataset.regions)).cast(pl.Int32)
    return rows.with_columns(
        (pl.lit(dataset.start_date) + pl.duration(days=days)).alias(DATE_COLUMN),
        regions.gather(turn % len(dataset.regions)).alias(REGION_COLUMN),
        pl.lit(batch, pl.Int64).alias("_batch_id"),
        pl.lit(None, pl.Int64).alias(specs.LATE),
        pl.lit(dt.datetime.now(dt.UTC), TIMESTAMP).alias("_ingested_at"),
    )
