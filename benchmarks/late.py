"""What one late row costs: a page view, and an order, two weeks behind a history of 30 days in 5 regions.

    make bench-late

Each row goes through Bronze and Silver's merge into every mart over these datasets. First the verdict: the table partitions
that were computed are those that read the row's own, and the marts equal those of an empty Gold that is computed from the
same Silver. Then the figures: CPU and bytes read of what one late row takes, beside computing every mart afresh. Each is taken
in a process of its own, as a run has it, from after its imports.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.figures import VerdictError, now
from benchmarks.history import DAYS, REGIONS, START, STREAMS, History, customers
from benchmarks.result import machine
from benchmarks.show import Show
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.settings import REPOSITORY

RESULT = REPOSITORY / "benchmarks" / "results" / "late.json"
# By mart, the days beside a row's own whose table partitions read that one: a window of traffic may begin on the day before,
# and a session may have gone on from there, or into the day after.
TOUCHED: Mapping[str, Mapping[str, Sequence[int]]] = {
    "page_views": {
        "traffic_hourly": (-1, 0),
        "sessions": (-1, 0, 1),
        "funnel_daily": (0,),
        "page_views_by_visitor": (0,),
    },
    "orders": {
        "revenue_daily": (0,),
        "revenue_1m": (0,),
        "revenue_by_segment": (0,),
        "sales_by_category": (0,),
        "funnel_daily": (0,),
    },
}
Step = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description="What one late row costs.")
    options.add_argument("--views", type=int, default=100_000, help="page views a day")
    options.add_argument("--orders", type=int, default=10_000, help="orders a day")
    options.add_argument("--rounds", type=int, default=3, help="late rows of each, and computations afresh")
    options.add_argument("--json", action="store_true", help="print the result file")
    chosen = options.parse_args()
    show = Show()
    # Customers' addresses are pseudonymised; nobody looks one up.
    os.environ["LAKEHOUSE_PSEUDONYM_KEYS"] = f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    with tempfile.TemporaryDirectory() as folder:
        history = History.at(Path(folder), rows={"page_views": chosen.views, "orders": chosen.orders})
        fill(history, show)
        rounds = [round_(Path(folder), history, number, show) for number in range(chosen.rounds)]
        show.say("computing all marts from the same Silver into an empty Gold")
        partitions = verify(Path(folder), history, rounds=chosen.rounds)
    result = {
        "command": " ".join(["python -m benchmarks.late", *sys.argv[1:]]),
        "date": now(),
        "machine": machine(),
        "history": {"days": DAYS, "regions": len(REGIONS), **history.rows, "partitions": partitions},
        "verdict": "equal",
        "rounds": len(rounds),
        **figures(rounds),
    }
    text = json.dumps(result, indent=2) + "\n"
    RESULT.write_text(text, encoding="utf-8")
    if chosen.json:
        sys.stdout.write(text)
    else:
        Console(highlight=False).print(table(result))


def fill(history: History, show: Show) -> None:
    """All of the history, up to Gold."""
    history.arrive("customers", customers())
    with show.bar("days to Silver", DAYS) as done:
        for day in range(DAYS):
            for name in history.rows:
                history.arrive(name, history.day(name, day))
            bring_silver(history)
            done(1)
    with show.bar("marts", len(history.marts)) as done:
        for mart in history.marts:
            list(compute(mart, catalog=history.catalog, storage=history.storage, keys=None))
            done(1)


def bring_silver(history: History) -> None:
    for name in STREAMS:
        list(refine(history.catalog.dataset(name), storage=history.storage, keys=None))


def round_(folder: Path, history: History, number: int, show: Show) -> dict[str, Step]:
    """What each of both late rows takes, and computing everything afresh after them."""
    taken: dict[str, Step] = {}
    for name, marts in TOUCHED.items():
        event, day, region = history.late(name, number)
        sent = dt.datetime.combine(START + dt.timedelta(days=DAYS), dt.time(number), dt.UTC)
        history.arrive(name, event, sent=sent)
        taken[name] = measured(folder, history, "late")
        computed = {mart: own["keys"] for mart, own in taken[name]["gold"].items() if own["keys"]}
        dates = {mart: [START + dt.timedelta(days=day + beside) for beside in days] for mart, days in marts.items()}
        wanted = {mart: [str(Key(date, region)) for date in own] for mart, own in dates.items()}
        if computed != wanted:
            raise VerdictError(f"a late row of {name} had {computed} computed, and touches {wanted}")
    taken["silver"] = measured(folder, history, "silver")
    taken["gold"] = measured(folder, history, "gold")
    if changed := {mart: own["changed"] for mart, own in taken["gold"]["gold"].items() if own["changed"]}:
        raise VerdictError(f"computing everything afresh changed {changed}")
    shares = ", ".join(f"{name} {_cpu(taken[name]) / _cpu(taken['gold']):.1%}" for name in TOUCHED)
    show.say(f"round {number + 1}: CPU of all marts afresh {_cpu(taken['gold']):.1f} s; late {shares} of it")
    return taken


def measured(folder: Path, history: History, step: str) -> Step:
    """What a process of its own takes."""
    command = [sys.executable, "-m", "benchmarks.late", "work", step, str(folder), json.dumps(dict(history.rows))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def work(step: str, history: History) -> Step:
    """One step, by layer and table: what it took, and which table partitions it computed and changed."""
    catalog, storage = history.catalog, history.storage
    # What is fixed and never changes: for imports, and the database that a process opens once.
    list(compute(catalog.mart("dim_region"), catalog=catalog, storage=storage, keys=None, afresh=True))
    found: Step = {}
    if step in {"late", "silver"}:
        silver = {
            name: lambda name=name: refine(catalog.dataset(name), storage=storage, keys=None, afresh=step == "silver")
            for name in history.rows
        }
        found["silver"] = {
            name: _taken(work, lambda part: part.written, lambda part: part.written) for name, work in silver.items()
        }
    if step in {"late", "gold"}:
        gold = {
            mart.name: lambda mart=mart: compute(
                mart, catalog=catalog, storage=storage, keys=None, afresh=step == "gold"
            )
            for mart in history.marts
        }
        found["gold"] = {
            name: _taken(work, lambda part: part.rows, lambda part: part.changed) for name, work in gold.items()
        }
    return found


def _taken(
    work: Callable[[], Iterable[Any]], keys: Callable[[Any], Iterable[Key]], changed: Callable[[Any], Iterable[Key]]
) -> Step:
    cpu, wall, read = time.process_time(), time.monotonic(), _read()
    parts = list(work())
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.monotonic() - wall,
        "bytes": _read() - read,
        "keys": [str(key) for part in parts for key in keys(part)],
        "changed": [str(key) for part in parts for key in changed(part)],
    }


def _read() -> int:
    """Bytes that this process has read so far, from the page cache or not."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def verify(folder: Path, history: History, *, rounds: int) -> int:
    """Compare with marts that are computed from nothing, and with how many rows were sent; returns the table partitions."""
    beside = History.at(folder / "beside", rows=history.rows)
    shutil.copytree(folder / "lake" / "silver", folder / "beside" / "lake" / "silver")
    partitions = 0
    for mart in history.marts:
        done = list(compute(mart, catalog=beside.catalog, storage=beside.storage, keys=None))
        partitions += sum(len(part.rows) for part in done)
        own, other = (rows_of(some, mart.name) for some in (history, beside))
        if not own.equals(other):
            raise VerdictError(f"{mart.name}: {len(own)} rows after late ones, {len(other)} computed from nothing")
    sent = {name: DAYS * rows + rounds for name, rows in history.rows.items()}
    found = {
        "page_views": rows_of(history, "page_views_by_visitor")["views"].sum(),
        "orders": rows_of(history, "revenue_daily").select(pl.sum("orders") + pl.sum("cancelled")).item(),
    }
    if found != sent:
        raise VerdictError(f"the marts have {found} rows, and {sent} were sent")
    return partitions


def rows_of(history: History, name: str) -> pl.DataFrame:
    mart = history.catalog.mart(name)
    gold = Table.open(specs.gold(mart), storage=history.storage)
    return gold.rows().select(specs.gold(mart).schema.keys()).sort(mart.merge_key).collect()


def figures(rounds: Sequence[Mapping[str, Step]]) -> Step:
    """Medians over the rounds, each with the lowest and the highest."""
    found: Step = {}
    for name in ("gold", "silver"):
        steps = [taken[name][name] for taken in rounds]
        found[f"all_{name}_afresh"] = {
            "cpu_s": _spread([_sum(step, "cpu_s") for step in steps]),
            "wall_s": _spread([_sum(step, "wall_s") for step in steps]),
            "bytes": _spread([_sum(step, "bytes") for step in steps]),
            "by_table": _by_table(steps),
        }
    for name, marts in TOUCHED.items():
        found[f"late_{name}"] = {
            "partitions": {mart: len(days) for mart, days in marts.items()},
            "changed": _spread([sum(len(own["changed"]) for own in taken[name]["gold"].values()) for taken in rounds]),
            **{
                f"{layer}_{what}": _spread([_sum(taken[name][layer], what) for taken in rounds])
                for layer in ("silver", "gold")
                for what in ("cpu_s", "wall_s", "bytes")
            },
            **{
                f"{layer}_{what}_share": _spread(
                    [_sum(taken[name][layer], what) / _sum(taken[layer][layer], what) for taken in rounds]
                )
                for layer in ("silver", "gold")
                for what in ("cpu_s", "bytes")
            },
            "by_mart": _by_table([taken[name]["gold"] for taken in rounds]),
        }
    return found


def _cpu(step: Step) -> float:
    return _sum(step["gold"], "cpu_s")


def _sum(tables: Mapping[str, Step], what: str) -> float:
    return sum(own[what] for own in tables.values())


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(values), 4), "least": round(min(values), 4), "most": round(max(values), 4)}


def _by_table(steps: Sequence[Mapping[str, Step]]) -> Step:
    return {
        name: {what: round(median(step[name][what] for step in steps), 4) for what in ("cpu_s", "bytes")}
        for name in steps[0]
    }


def table(result: Step) -> Grid:
    grid = Grid(
        title=f"One late row in {DAYS} days, {len(REGIONS)} regions: the marts equal those computed from nothing"
    )
    for column in ("", "table partitions", "CPU, s", "read, MB", "CPU, share", "read, share"):
        grid.add_column(column, justify="left" if not column else "right")
    full = result["all_gold_afresh"]
    grid.add_row(
        "all marts afresh",
        str(result["history"]["partitions"]),
        f"{full['cpu_s']['median']:.2f}",
        f"{full['bytes']['median'] / 1e6:.1f}",
        "",
        "",
    )
    for name in TOUCHED:
        own = result[f"late_{name}"]
        grid.add_row(
            f"late row of {name}",
            str(sum(own["partitions"].values())),
            f"{own['gold_cpu_s']['median']:.2f}",
            f"{own['gold_bytes']['median'] / 1e6:.1f}",
            _percent(own["gold_cpu_s_share"]),
            _percent(own["gold_bytes_share"]),
        )
    return grid


def _percent(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.1%} (from {spread['least']:.1%} to {spread['most']:.1%})"


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        json.dump(work(sys.argv[2], History.at(Path(sys.argv[3]), rows=json.loads(sys.argv[4]))), sys.stdout)
    else:
        main()
