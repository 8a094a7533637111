"""`lakehouse produce retail`: the four streams of a made-up retail business."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated

import typer

from dagster_project.cli.output import AsJson, print_json
from dagster_project.cli.sender import Sender, figures, send_all, tell
from dagster_project.errors import ConfigurationError
from dagster_project.settings import Settings
from dagster_project.sources.retail.transport import Order, Transport


class Stream(StrEnum):
    """What `--only` may name; of literals typer takes no list."""

    CUSTOMERS = "customers"
    ORDERS = "orders"
    PAYMENTS = "payments"
    PAGE_VIEWS = "page_views"


def retail(
    orders: Annotated[int, typer.Option(min=1, help="How many; page views are 28 times as many.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 0,
    days: Annotated[float, typer.Option(min=0.001, help="Over how many days, from 2026-03-01 on.")] = 30,
    refunds: Annotated[float, typer.Option(min=0, max=1, help="Share of the payments that are refunded.")] = 0.02,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="So many are sent twice.")] = 0.05,
    late: Annotated[float, typer.Option(min=0, max=1, help="So many are beyond the allowed lateness.")] = 0.03,
    poison: Annotated[float, typer.Option(min=0, max=1, help="So many are sent once more, broken.")] = 0.005,
    shuffle: Annotated[
        Order,
        typer.Option(help="By event time; as they are known; among their neighbours; or the whole stream."),
    ] = "known",
    only: Annotated[list[Stream] | None, typer.Option(help="One of the streams; may be given again.")] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Events per second of all; by default as fast as possible.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="The days begin now, and events are sent as they happen.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send what a shop's customers do: their records, orders, payments and page views, with trouble in time."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.sources.retail.streams import streams
    from dagster_project.sources.retail.world import DEFAULT_START, World

    if live and rate is not None:
        raise ConfigurationError("--live with --rate", expected="one of them: a live run goes by the clock")
    settings = Settings.from_environment()
    start = dt.datetime.now(dt.UTC) if live else DEFAULT_START
    world = World(orders=orders, seed=seed, days=days, start=start, refunds=refunds, live=live)
    transport = Transport(order=shuffle, duplicates=duplicates, late=late, poison=poison)
    sources = streams(load_catalog(settings.contracts), world=world, transport=transport, only=only or list(Stream))
    totals = [len(source) for source in sources]
    if live:  # so that a transaction holds what happens within a second
        rate = sum(totals) / world.span.total_seconds()
    servers = bootstrap_servers(settings)
    senders = [
        Sender(source, settings, servers, rate=None if rate is None else rate * total / sum(totals), limit=total)
        for source, total in zip(sources, totals, strict=True)
    ]
    done = send_all(senders, totals)
    if as_json:
        print_json([figures(one) for one in done])
        return
    for one in done:
        tell(one)
