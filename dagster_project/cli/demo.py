"""`lakehouse demo`: real events through the real broker, daemon and sensors, until everything is accounted for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dagster_project.cli.output import console, progress
from dagster_project.cli.sender import Sender
from dagster_project.cli.signals import end_as_ctrl_c
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Dataset
    from dagster_project.sources.source import Source


def demo(
    dataset: Annotated[Literal["flights", "orders"], typer.Option(help="Which events.")] = "flights",
    events: Annotated[
        int | None, typer.Option(min=1, help="How many; by default all flights, or 200,000 orders.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Bring a dataset from Kafka to Gold with Dagster's own daemon and sensors, and account for every offset."""
    from dagster_project.accounting.account import account
    from dagster_project.accounting.latency import latency
    from dagster_project.assets.jobs import by_rectangle
    from dagster_project.cli.watch import wait_for_runs, watch
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage
    from dagster_project.services import cache, kafka, orchestrator, registry
    from dagster_project.topics import admin, derived
    from dagster_project.topics.broker import Broker

    end_as_ctrl_c()
    settings = Settings.from_environment()
    settings.starts_services("demo")
    catalog = load_catalog(settings.contracts)
    contract = catalog.dataset(dataset)
    storage = Storage.at(settings.lake_uri)
    kafka.up(settings, report=progress)
    if registry.is_needed([contract]):
        registry.up(settings, report=progress)
    cache.up(settings, report=progress)
    servers = kafka.bootstrap_servers(settings)
    for step in admin.plan_all(derived.wanted([contract]), bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)
    source, broker = _source(contract, events), Broker(servers)
    progress("Starting Dagster's code server and daemon")
    with orchestrator.alone(settings), orchestrator.running(settings) as orchestra:
        began = time.monotonic()
        with _producing(source, settings, servers, events if dataset == "flights" else None) as sender:
            total = min(events or len(source), len(source))
            watch(
                contract,
                catalog,
                storage=storage,
                broker=broker,
                sender=sender,
                total=total,
                orchestra=orchestra,
            )
        seconds = time.monotonic() - began
        progress("Everything is in Gold; waiting for Dagster's runs to tell the UI of it")
        wait_for_runs(settings.dagster_home)
    found = account(
        contract,
        catalog=catalog,
        storage=storage,
        topic=lambda: broker.topic(contract.topic.name),
        bootstrap_servers=servers,
    )
    mart = by_rectangle(catalog, contract)[0]
    times = latency(contract, mart, storage=storage)
    produced = 0 if sender.done is None else sender.done.produced
    figures = {
        "latency_p50_s": None if times is None else times.p50_s,
        "latency_p95_s": None if times is None else times.p95_s,
        "events_per_s": round(produced / seconds),
        "produced": produced,
        "seconds": round(seconds, 1),
    }
    if as_json:
        sys.stdout.write(json.dumps({**asdict(found), **figures}) + "\n")
    else:
        from dagster_project.cli.verify import show

        show(found)
        _tell(figures, settings, dataset)
    if not found.accounted or found.pending or found.gold_stale:
        raise typer.Exit(1)


@contextmanager
def _producing(source: Source, settings: Settings, servers: str, limit: int | None) -> Generator[Sender]:
    sender = Sender(source, settings, servers, limit=limit)
    sender.start()
    yield sender
    sender.join()


def _source(contract: Dataset, events: int | None) -> Source:
    if contract.name == "flights":
        from dagster_project.sources.flights import Flights

        return Flights(dataset=contract)
    from dagster_project.sources.orders import Orders

    return Orders(dataset=contract, events=events or 200_000, seed=0)


def _tell(figures: dict[str, float | int | None], settings: Settings, dataset: str) -> None:
    if figures["produced"]:
        console.print(
            f"{figures['produced']:,} events in {figures['seconds']} s, {figures['events_per_s']:,} a second; "
            f"from Kafka to Gold p50 {figures['latency_p50_s']} s, p95 {figures['latency_p95_s']} s"
        )
    else:
        console.print("All events were there already: nothing was added, nothing changed.")
    console.print("\nWhere to look next:", style="bold")
    console.print(
        '  lakehouse query "FROM gold.'
        + {"flights": "departures_daily", "orders": "revenue_daily"}[dataset]
        + ' LIMIT 10"'
    )
    console.print("  lakehouse dev        Dagster's UI, with the runs, partitions and checks of what just happened")
    console.print("  lakehouse verify     the same account, computed anew")
    console.print(f"  {settings.lake_uri}    the Delta tables", soft_wrap=True)
