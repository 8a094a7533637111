"""What a hot key costs: marts over page views of which 30 % are of one visitor, beside the same marts without it.

    make bench-skew

Silver holds as many rows in both cases, over three days of one region. A process of its own computes the marts over one case
as a run does it: read Silver, run the SQL, write Gold. The cases take turns, and the best of each counts. A mart by visitor
is also computed in two steps, by salt first, as an engine would need it that gives each group to one worker.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.keys import keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.gold import compute
from dagster_project.settings import REPOSITORY

ROWS, VISITORS, DAYS, SHARE = 3_000_000, 100_000, 3, 0.3
REPEATS = 2
START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
Seconds = tuple[float, float]  # of CPU and wall
CASES = {"even": 0.0, "skewed": SHARE}
RESULT = REPOSITORY / "benchmarks" / "results" / "skew.json"
BY_VISITOR = "page_views_by_visitor"
BY_SALT = f"{BY_VISITOR}_by_salt_first"
MARTS = (BY_VISITOR, BY_SALT, "traffic_hourly", "sessions")
SALTED = """
WITH salted AS (
    SELECT
        event_date, region, visitor_id, page, hash(view_id) % 16 AS salt, count(*) AS views, sum(duration_ms) AS duration_ms
    FROM silver.page_views
    GROUP BY event_date, region, visitor_id, page, salt
)
SELECT
    event_date, region, visitor_id, sum(views) AS views, count(DISTINCT page) AS pages,
    coalesce(sum(duration_ms), 0) AS duration_ms
FROM salted
GROUP BY event_date, region, visitor_id
"""


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        found = {name: fill(Path(folder) / name, rows=rows, share=share) for name, share in CASES.items()}
        taken = [{case: measured(Path(folder) / case) for case in CASES} for _ in range(REPEATS)]
    marts = {mart: compared([{case: round_[case][mart] for case in CASES} for round_ in taken]) for mart in MARTS}
    result = {"rows": rows, "visitors": VISITORS, "hot_share": SHARE, "largest_file_rows": found, "marts": marts}
    text = json.dumps(result, indent=2) + "\n"
    RESULT.write_text(text)
    sys.stdout.write(text)


def fill(lake: Path, *, rows: int, share: float) -> int:
    """Silver of page views; returns the rows of its largest file."""
    dataset = load_catalog(REPOSITORY / "contracts").dataset("page_views")
    rng = np.random.default_rng(0)
    at = START + pl.Series(rng.integers(0, DAYS * 86_400_000_000, rows)).cast(pl.Duration("us"))
    visitor = pl.Series(rng.integers(0, VISITORS, rows)).cast(pl.String)
    frame = pl.DataFrame(
        {
            "view_id": "view-" + pl.Series(rng.permutation(rows)).cast(pl.String),
            "visitor_id": pl.select(
                pl.when(pl.Series(rng.random(rows) < share)).then(pl.lit("bot-0001")).otherwise("visitor-" + visitor)
            ).to_series(),
            "event_time": at,
            "page": pl.Series(rng.choice(["home", "search", "product", "cart", "checkout"], rows)),
            "duration_ms": pl.Series(rng.integers(0, 60_000, rows)),
            "_kafka_timestamp": at,
            "_deleted": pl.repeat(value=False, n=rows, eager=True),
            "event_date": at.dt.date(),
            "region": pl.repeat("eu", rows, eager=True),
        }
    )
    silver = Table.open(specs.silver(dataset), storage=Storage.at(str(lake)))
    blank = [pl.lit(None, dtype).alias(name) for name, dtype in silver.schema.items() if name not in frame.columns]
    silver.commit(frame.with_columns(blank), cursors={}, marks=[cursor_name("changed", key) for key in keys_of(frame)])
    return int(silver.files()["num_records"].max())  # pyright: ignore[reportArgumentType] a number


def compared(taken: Sequence[Mapping[str, Seconds]]) -> dict[str, object]:
    """CPU and wall of both cases, and how much more the skewed one takes; other processes only ever add to them."""
    cpu, wall = ({case: min(round_[case][at] for round_ in taken) for case in CASES} for at in (0, 1))
    return {
        "cpu_s": {case: round(seconds, 3) for case, seconds in cpu.items()},
        "wall_s": {case: round(seconds, 3) for case, seconds in wall.items()},
        "cpu_ratio": round(cpu["skewed"] / cpu["even"], 2),
        "wall_ratio": round(wall["skewed"] / wall["even"], 2),
    }


def measured(lake: Path) -> dict[str, Seconds]:
    """By mart, what a process of its own takes."""
    command = [sys.executable, "-m", "benchmarks.skew", "compute", str(lake)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def work(lake: Path) -> dict[str, Seconds]:
    """Compute each mart; the first one once before, for imports and caches."""
    catalog, storage = _catalog(), Storage.at(str(lake))
    taken: dict[str, Seconds] = {}
    for name in (MARTS[0], *MARTS):
        mart = next(mart for mart in catalog.marts if mart.name == name)
        cpu, wall = time.process_time(), time.monotonic()
        done = list(compute(mart, catalog=catalog, storage=storage, keys=None, afresh=True))
        taken[name] = time.process_time() - cpu, time.monotonic() - wall
        if len([key for part in done for key in part.rows]) < DAYS:
            raise AssertionError(f"{name} has table partitions without rows")
    return taken


def _catalog() -> Catalog:
    catalog = load_catalog(REPOSITORY / "contracts")
    mart = next(mart for mart in catalog.marts if mart.name == BY_VISITOR)
    return replace(catalog, marts=(*catalog.marts, replace(mart, name=BY_SALT, sql=SALTED)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["compute"]:
        json.dump(work(Path(sys.argv[2])), sys.stdout)
    else:
        main()
