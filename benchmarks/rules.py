"""What the rules of a contract cost: CPU for judging rows, beside a plain scan of the same rows.

    make bench-rules

Rows lie in Parquet as Silver reads them from Bronze. One process scans them, another scans and judges them, portion by
portion as `refine` does, by eight row rules: one of each kind. Both are told apart by their own CPU time, user and system.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.quality.gate import judge

# As many rows, and as many at a time, as a run of Silver has in one commit.
ROWS, PORTION = 5_000_000, 500_000
BAD = 0.01
REPEATS = 3
START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
# One rule of each kind, as this page counts them.
RULES = (
    "required: order_id", "enum: status", "range: amount 0 … 1,000,000", "length: customer ≤ 40", "pattern: sku",
    "nested: items[].quantity ≥ 1", "SQL: event_time >= ordered_at", "not in the future: event_time",
)  # fmt: skip
CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: orders
name: Orders
version: 1.0.0
status: active
servers:
  - {server: kafka, type: kafka, host: "kafka:9092", format: json}
schema:
  - name: orders
    physicalName: orders
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: event_time}
      - {property: startDate, value: "2026-01-01"}
    properties:
      - {name: order_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: region, logicalType: string, required: true, partitioned: true, enum: [{value: eu}, {value: us}]}
      - {name: ordered_at, logicalType: timestamp}
      - {name: event_time, logicalType: timestamp, required: true, customProperties: [{property: notInFuture, value: PT5M}]}
      - {name: status, logicalType: string, enum: [{value: created}, {value: paid}, {value: shipped}]}
      - {name: amount, logicalType: number, physicalType: "decimal(18, 2)", logicalTypeOptions: {minimum: 0, maximum: 1000000}}
      - {name: customer, logicalType: string, logicalTypeOptions: {maxLength: 40}}
      - {name: sku, logicalType: string, logicalTypeOptions: {pattern: '^[A-Z0-9-]{3,32}$'}}
      - name: items
        logicalType: array
        items:
          logicalType: object
          properties: [{name: quantity, logicalType: integer, logicalTypeOptions: {minimum: 1}}]
    quality:
      - {id: not_before_order, type: custom, engine: platform, implementation: event_time >= ordered_at}
team: {name: bench}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "orders.odcs.yaml").write_text(CONTRACT)
        for number in range(ROWS // PORTION):
            rows(number).write_parquet(root / f"{number}.parquet")
        # The best of a few: other processes only ever add to it.
        scan, judged = (min(measured(root, what) for _ in range(REPEATS)) for what in ("scan", "judge"))
    millions = ROWS / 1_000_000
    found = {
        "rows": ROWS,
        "rules": RULES,
        "cpu_s_per_million_rows": round((judged - scan) / millions, 3),
        "scan_cpu_s_per_million_rows": round(scan / millions, 3),
        "bound": 1.0,
        "kept": (judged - scan) / millions < 1.0,
    }
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    raise SystemExit(0 if found["kept"] else 1)


def rows(number: int) -> pl.DataFrame:
    """One portion: about one row in a hundred breaks a rule, each rule in turn."""
    rng = np.random.default_rng(number)
    broken = np.where(rng.random(PORTION) < BAD, rng.integers(0, len(RULES), PORTION), -1)
    ordered = START + pl.Series(rng.integers(0, 86_400_000_000, PORTION)).cast(pl.Duration("us"))
    identity = pl.Series(rng.integers(0, 1 << 60, PORTION)).cast(pl.String)
    frame = pl.DataFrame(
        {
            "order_id": identity,
            "region": pl.Series(rng.choice(["eu", "us"], PORTION)),
            "ordered_at": ordered,
            "event_time": ordered + dt.timedelta(minutes=3),
            "status": pl.Series(rng.choice(["created", "paid", "shipped"], PORTION)),
            "amount": pl.Series(rng.integers(0, 99_999_999, PORTION)).cast(pl.Decimal(20, 0)) / pl.Series([100]),
            "customer": "customer-" + identity.str.slice(0, 12),
            "sku": "SKU-" + pl.Series(rng.integers(0, 9_999, PORTION)).cast(pl.String),
            "quantity": pl.Series(rng.integers(1, 9, PORTION)),
            "_kafka_timestamp": ordered + dt.timedelta(minutes=3),
            "_broken": pl.Series(broken),
        }
    )
    spoilt = {
        "order_id": pl.lit(None, pl.String), "status": pl.lit("lost"), "amount": pl.lit(-1), "customer": pl.lit("x" * 41),
        "sku": pl.lit("?"), "quantity": pl.lit(0), "event_time": pl.col("ordered_at") - pl.duration(hours=1),
        "_kafka_timestamp": pl.col("event_time") - pl.duration(hours=1),
    }  # fmt: skip
    frame = frame.with_columns(
        pl.when(pl.col("_broken") == index).then(value).otherwise(name).alias(name)
        for index, (name, value) in enumerate(spoilt.items())
    )
    return frame.with_columns(
        pl.col("amount").cast(pl.Decimal(18, 2)),
        pl.concat_list(pl.struct(pl.col("quantity"))).alias("items"),
        pl.lit(value=False).alias("_deleted"),
    ).drop("quantity")


def measured(root: Path, what: str) -> float:
    """CPU seconds of a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.rules", what, str(root)], check=True, capture_output=True)
    return float(done.stdout)


def work(what: str, root: Path) -> float:
    """Scan all portions, and judge them or not; returns the CPU seconds that took, after a first portion for nothing."""
    (dataset,) = load_catalog(root).datasets
    _portion(dataset, root / "0.parquet", what)
    began = time.process_time()
    bad = sum(_portion(dataset, root / f"{number}.parquet", what) for number in range(ROWS // PORTION))
    seconds = time.process_time() - began
    if what == "judge" and abs(bad / ROWS - BAD) > BAD / 5:
        raise AssertionError(f"{bad} of {ROWS} rows are bad")
    return seconds


def _portion(dataset: Dataset, path: Path, what: str) -> int:
    frame = pl.read_parquet(path)
    return len(judge(dataset, frame).bad) if what == "judge" else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(str(work(sys.argv[1], Path(sys.argv[2]))))
    else:
        main()
