"""The project's own marts over hand-made rows of Silver."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.refine.sql import run_sql
from dagster_project.settings import REPOSITORY

Row = dict[str, Any]
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)
_PLACE = {"_late_us": pl.Int64(), "_kafka_timestamp": TIMESTAMP, "event_date": pl.Date(), "region": pl.String()}
_VIEWS = {
    "view_id": pl.String(), "visitor_id": pl.String(), "event_time": TIMESTAMP, "page": pl.String(),
    "duration_ms": pl.Int64(), **_PLACE,
}  # fmt: skip
_ORDERS = {
    "order_id": pl.String(), "ordered_at": TIMESTAMP, "status": pl.String(), "currency": pl.String(),
    "amount": pl.Decimal(18, 2), **_PLACE,
}  # fmt: skip
_WATERMARKS = {"dataset": pl.String(), "region": pl.String(), "watermark": TIMESTAMP, "silent": pl.Boolean()}


@dataclass(frozen=True, kw_only=True)
class View:
    """A page view; `late` ones came `sent`, after the allowed lateness."""

    at: dt.datetime
    visitor: str = "ada"
    region: str = "eu"
    page: str = "home"
    duration_ms: int | None = None
    late: bool = False
    sent: dt.datetime = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An order in its latest state."""

    at: dt.datetime
    amount: Decimal = Decimal("1.00")
    status: str = "paid"
    region: str = "eu"
    currency: str = "EUR"
    late: bool = False
    sent: dt.datetime = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def views_frame(views: Iterable[View]) -> pl.DataFrame:
    """Rows of `silver.page_views`; the view's id is its place among these."""
    rows = [
        (f"view-{n:06d}", v.visitor, v.at, v.page, v.duration_ms, 1 if v.late else None, v.sent, v.at.date(), v.region)
        for n, v in enumerate(views)
    ]
    return pl.DataFrame(rows, schema=_VIEWS, orient="row")


def orders_frame(orders: Iterable[Placed]) -> pl.DataFrame:
    """Rows of `silver.orders`."""
    rows = [
        (f"order-{n}", o.at, o.status, o.currency, o.amount, 1 if o.late else None, o.sent, o.at.date(), o.region)
        for n, o in enumerate(orders)
    ]
    return pl.DataFrame(rows, schema=_ORDERS, orient="row")


def compute(
    name: str, watermark: Mapping[str, dt.datetime] | dt.datetime | None = None, **inputs: pl.DataFrame
) -> list[Row]:
    """Rows of a mart, in the order of their key.

    Args:
        watermark: of the regions; a moment is that of `eu`.
        inputs: by dataset, the rows of Silver.
    """
    known = {"eu": watermark} if isinstance(watermark, dt.datetime) else dict(watermark or {})
    marks = [(dataset, region, moment, False) for dataset in inputs for region, moment in known.items()]
    frames = {f"silver.{dataset}": frame.lazy() for dataset, frame in inputs.items()}
    frames["lake.watermarks"] = pl.LazyFrame(marks, schema=_WATERMARKS, orient="row")
    mart = next(mart for mart in catalog().marts if mart.name == name)
    assert set(mart.datasets) == inputs.keys()
    return run_sql(mart, frames).to_dicts()


@functools.cache
def catalog() -> Catalog:
    """The project's own contracts."""
    return load_catalog(REPOSITORY / "contracts")
