"""What a hot key costs: marts over page views of which 30 % are of one visitor, beside the same marts without it.

    make bench-skew

Silver holds as many rows in both cases, over three days of one region. Each mart is computed in a process of its own, as
a run does it: read Silver, run the SQL, write Gold; both cases in turn, the best of a few. Two-phase aggregation is
compared with the same mart in one step.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
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
REPEATS = 3
START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CASES = {"even": 0.0, "skewed": SHARE}
RESULT = REPOSITORY / "benchmarks" / "results" / "skew.json"
TWO_STEPS, ONE_STEP = "page_views_by_visitor", "page_views_by_visitor in one step"
MARTS = (TWO_STEPS, ONE_STEP, "traffic_hourly", "sessions")
IN_ONE_STEP = """
SELECT
    event_date, region, visitor_id, count(*) AS views, count(DISTINCT page) AS pages,
    coalesce(sum(duration_ms), 0) AS duration_ms
FROM silver.page_views
GROUP BY event_date, region, visitor_id
"""


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        found = {name: fill(Path(folder) / name, rows=rows, share=share) for name, share in CASES.items()}
        marts = {mart: compared(mart, Path(folder)) for mart in MARTS}
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


def compared(mart: str, folder: Path) -> dict[str, object]:
    """CPU and wall of both cases in turn, and how much more the skewed one takes."""
    taken = [{case: measured(mart, folder / case) for case in CASES} for _ in range(REPEATS)]
    # The best of a few: other processes only ever add to it.
    cpu, wall = ({case: min(round_[case][at] for round_ in taken) for case in CASES} for at in (0, 1))
    return {
        "cpu_s": {case: round(seconds, 2) for case, seconds in cpu.items()},
        "wall_s": {case: round(seconds, 2) for case, seconds in wall.items()},
        "cpu_ratio": round(cpu["skewed"] / cpu["even"], 2),
        "wall_ratio": round(wall["skewed"] / wall["even"], 2),
    }


def measured(mart: str, lake: Path) -> tuple[float, float]:
    """CPU and wall seconds of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.skew", mart, str(lake)], check=True, capture_output=True, text=True
    )
    cpu, wall = done.stdout.split()
    return float(cpu), float(wall)


def work(name: str, lake: Path) -> tuple[float, float]:
    """Compute a mart twice; the first time is for imports and caches."""
    catalog, storage = _catalog(), Storage.at(str(lake))
    mart = next(mart for mart in catalog.marts if mart.name == name.replace(" ", "_"))
    seconds = (0.0, 0.0)
    for _ in range(2):
        cpu, wall = time.process_time(), time.monotonic()
        done = sum(
            sum(part.rows.values()) for part in compute(mart, catalog=catalog, storage=storage, keys=None, afresh=True)
        )
        seconds = time.process_time() - cpu, time.monotonic() - wall
        if not done:
            raise AssertionError(f"{name} has no rows")
    return seconds


def _catalog() -> Catalog:
    catalog = load_catalog(REPOSITORY / "contracts")
    two_steps = next(mart for mart in catalog.marts if mart.name == TWO_STEPS)
    one_step = replace(two_steps, name=ONE_STEP.replace(" ", "_"), sql=IN_ONE_STEP)
    return replace(catalog, marts=(*catalog.marts, one_step))


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 a mart and a lake
        sys.stdout.write(" ".join(map(str, work(sys.argv[1], Path(sys.argv[2])))))
    else:
        main()
