"""`lakehouse cost`: what each asset costs, and which deployment would be the cheapest."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.cli.route import route
from dagster_project.errors import ConfigurationError
from dagster_project.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from dagster_project.cost.plan import BreakEven, Plan
    from dagster_project.cost.report import AssetCost
    from dagster_project.cost.throughput import Throughput

app = typer.Typer(help="What each asset costs; `plan`: what deployments would; `route`: which engine each needs.")
app.command()(route)
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Measured(StrEnum):
    """By whom it was measured."""

    BENCHMARK = "benchmark"
    LAKE = "lake"


@app.callback(invoke_without_command=True)
def cost(
    context: typer.Context,
    since: Annotated[
        str, typer.Option(help="Runs that ended since then: 24h, 7d, or a date or time (UTC) such as 2026-11-05T14:00.")
    ] = "30d",
    dataset: Annotated[str | None, typer.Option(help="Only what works on this dataset.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each asset has cost, and for a million events: machine, store and requests."""
    if context.invoked_subcommand is not None:
        return
    from dagster_project.cost.prices import load_prices
    from dagster_project.cost.report import report, total
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    now = dt.datetime.now(dt.UTC)
    begin = _moment(since, now)
    found = [
        part
        for part in report(
            storage=Storage.at(settings.lake_uri), prices=load_prices(settings.prices), since=begin, until=now
        )
        if dataset is None or dataset in part.datasets
    ]
    if as_json:
        print_json({"since": begin, "until": now, "assets": found, "total": total(found)})
    elif found:
        _show(found, total(found), begin)
    else:
        console.print(f"nothing was recorded since {begin:%Y-%m-%d %H:%M} UTC", soft_wrap=True)


@app.command()
def plan(
    events_per_day: Annotated[float, typer.Option(min=1, help="Events of one day.")],
    bytes_per_event: Annotated[float, typer.Option(min=1, help="Of a message, with its key and headers.")] = 500.0,
    hours_per_day: Annotated[
        float, typer.Option(min=0.01, max=24, help="In which they arrive and are worked on.")
    ] = 24.0,
    peak_factor: Annotated[float, typer.Option(min=1, help="The busiest time of these hours ÷ their mean.")] = 3.0,
    retention_days: Annotated[float, typer.Option(min=0, help="How long the lake keeps them.")] = 30.0,
    measured: Annotated[
        Measured, typer.Option(help="What one core does in a second: as the benchmark or this lake's own runs found.")
    ] = Measured.BENCHMARK,
    events_per_core_s: Annotated[float | None, typer.Option(min=1, help="Instead of what was measured.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare deployments: one VM, ECS, Glue and EMR, with MSK or Kinesis, reserved or on demand."""
    from dagster_project.cost.deployments import Workload
    from dagster_project.cost.plan import plan as compare
    from dagster_project.cost.prices import load_prices

    settings = Settings.from_environment()
    found = compare(
        Workload(
            events_per_day=events_per_day,
            bytes_per_event=bytes_per_event,
            hours_per_day=hours_per_day,
            peak_factor=peak_factor,
            retention_days=retention_days,
        ),
        _throughput(measured, events_per_core_s, settings),
        load_prices(settings.prices),
    )
    if as_json:
        print_json(found)
    else:
        _show_plan(found)


def _throughput(measured: Measured, given: float | None, settings: Settings) -> Throughput:
    from dagster_project.cost.prices import load_prices
    from dagster_project.cost.report import report
    from dagster_project.cost.throughput import of_benchmark, of_lake
    from dagster_project.lake.storage import Storage

    results = REPOSITORY / "benchmarks" / "results" / "latest.json"
    if measured is Measured.BENCHMARK:
        found = of_benchmark(results)
    else:
        now = dt.datetime.now(dt.UTC)
        costs = report(
            storage=Storage.at(settings.lake_uri),
            prices=load_prices(settings.prices),
            since=dt.datetime.min.replace(tzinfo=dt.UTC),
            until=now,
        )
        found = of_lake(costs, benchmark=of_benchmark(results) if results.exists() else None)
    return found if given is None else replace(found, events_per_core_s=given)


def _moment(text: str, now: dt.datetime) -> dt.datetime:
    if match := re.fullmatch(r"(\d+)([dhm])", text):
        return now - dt.timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--since {text}",
            expected="a time ago such as 24h or 7d, or a date or time such as 2026-11-05T14:00",
            remedy="write one of these",
        ) from error
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _show(found: list[AssetCost], whole: AssetCost, since: dt.datetime) -> None:
    from rich.table import Table

    table = Table(title=f"dollars since {since:%Y-%m-%d %H:%M} UTC", title_justify="left")
    names = ("asset", "runs", "failed", "events", "CPU s", "MiB in", "MiB out", "PUT", "GET")
    for name in (*names, "machine", "store", "requests", "all", "for 10⁶ events"):
        table.add_column(name, justify="left" if name == "asset" else "right", no_wrap=True)
    for part in (*found, whole):
        if part is whole:
            table.add_section()
        rate = part.usd_per_million
        table.add_row(
            part.asset,
            f"{part.runs:,}",
            f"{part.failed:,}" if part.failed else "",
            f"{part.events:,}",
            f"{part.cpu_seconds:,.1f}",
            f"{part.bytes_in / 2**20:,.1f}",
            f"{part.bytes_out / 2**20:,.1f}",
            f"{part.requests_put:,}",
            f"{part.requests_get:,}",
            *(f"{usd:.6f}" for usd in (part.machine_usd, part.store_usd, part.requests_usd, part.usd)),
            "" if rate is None else f"{rate:.4f}",
        )
    console.print(table)


def _show_plan(found: Plan) -> None:
    from rich.table import Table

    work, speed = found.workload, found.throughput
    spark = "" if speed.spark_events_per_core_s is None else f", {speed.spark_events_per_core_s:,.0f} on Spark"
    console.print(
        f"{work.events_per_day:,.0f} events of {work.bytes_per_event:,.0f} bytes in {work.hours_per_day:g} h a day, at the "
        f"peak {work.events_per_s * work.peak_factor:,.0f} a second\n"
        f"{speed.events_per_core_s:,.0f} events a core and second{spark} ({speed.source})",
        soft_wrap=True,
    )
    table = Table(title="dollars a month", title_justify="left")
    names = ("compute", "vCPUs", "stream", "", "machine", "stream", "store", "all", "for 10⁶ events", "as it is")
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number in {0, 2, 3, 9} else "right", no_wrap=True)
    for one in found.deployments:
        share = one.usd_per_month / one.usd_per_day
        table.add_row(
            one.compute,
            f"{one.vcpus:,}",
            one.stream,
            one.stream_size,
            *(f"{usd * share:,.0f}" for usd in (one.machine, one.stream_usd, one.store)),
            f"{one.usd_per_month:,.0f}",
            f"{one.usd_per_million:.4f}",
            "yes" if one.as_it_is else "",
            style="bold green" if one is found.recommended else None,
        )
    console.print(table)
    console.print(
        "\n".join(["recommended:", *(f"  {reason}" for reason in found.reasons)]), markup=False, soft_wrap=True
    )
    console.print(
        "\n".join(["break-even, hours a day:", *map(_crossing, found.break_evens)]), markup=False, soft_wrap=True
    )


def _crossing(point: BreakEven) -> str:
    if point.hours is None:
        other = next(name for name in point.pair if name != point.below)
        return f"  {point.below} is cheaper than {other}, however long"
    return f"  {point.below} below {point.hours:.2f} h, {point.above} above"
