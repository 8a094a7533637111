"""`lakehouse produce retail`: the four streams of a made-up retail business."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
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
    orders: Annotated[
        int | None, typer.Option(min=1, help="How many; page views are 28 times as many. Not with --live and --rate.")
    ] = None,
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
        float | None,
        typer.Option(
            min=0.001,
            help="Events per second of all; by default as fast as possible, or what --live makes of the orders.",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="The days begin now, and events are sent as they happen.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send what a shop's customers do: their records, orders, payments and page views, with trouble in time."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.sources.retail.streams import orders_at, streams
    from dagster_project.sources.retail.world import DEFAULT_START, World

    if (orders is None) != (live and rate is not None):
        raise ConfigurationError(
            f"--orders {orders}{' --live' if live else ''}{f' --rate {rate:g}' if rate is not None else ''}",
            expected="--orders; or --live --rate, by which there are as many orders as make so many events a second",
            remedy="leave one of them out, or say how many orders there are",
        )
    settings = Settings.from_environment()
    catalog, chosen = load_catalog(settings.contracts), only or list(Stream)
    start = dt.datetime.now(dt.UTC) if live else DEFAULT_START
    transport = Transport(order=shuffle, duplicates=duplicates, late=late, poison=poison)
    world = World(orders=orders or 1, seed=seed, days=days, start=start, refunds=refunds, live=live)
    if orders is None and rate is not None:
        world = replace(world, orders=orders_at(rate, catalog, world=world, transport=transport, only=chosen))
    sources = streams(catalog, world=world, transport=transport, only=chosen)
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
