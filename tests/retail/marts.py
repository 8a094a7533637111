"""Every mart of the retail streams in pandas, by name: from Silver as the oracle has it."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportArgumentType=false, reportCallIssue=false, reportReturnType=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from tests.retail import dimensions, ledger, windows

Silver = Mapping[str, pd.DataFrame]


def revenue_daily(orders: pd.DataFrame) -> pd.DataFrame:
    """What the orders of a day brought in, by region and currency."""
    kept = orders["status"] != "cancelled"
    units = orders["items"].map(lambda items: sum(item["quantity"] for item in items))
    measured = orders.assign(
        orders=kept.astype(int),
        cancelled=(~kept).astype(int),
        units=units.where(kept, other=0),
        revenue=orders["amount"].where(kept, other=0),
    )
    keys = ["event_date", "region", "currency"]
    return measured.groupby(keys, as_index=False)[["orders", "cancelled", "units", "revenue"]].sum()


def account_balances(payments: pd.DataFrame) -> pd.DataFrame:
    """What each account was given and gave on a day."""
    keys = ["event_date", "region", "account", "currency"]
    sums = ledger.postings(payments).groupby(keys, as_index=False)[["debit", "credit"]].sum()
    return sums.assign(balance=sums["debit"] - sums["credit"])


MARTS: dict[str, Callable[[Silver], pd.DataFrame]] = {
    "account_balances": lambda silver: account_balances(silver["payments"]),
    "dim_customer": lambda silver: dimensions.dim_customer(silver["customers"]),
    "funnel_daily": lambda silver: windows.funnel_daily(silver["page_views"], silver["orders"]),
    "ledger": lambda silver: ledger.postings(silver["payments"]),
    "page_views_by_visitor": lambda silver: windows.page_views_by_visitor(silver["page_views"]),
    "revenue_1m": lambda silver: windows.revenue_1m(silver["orders"]),
    "revenue_by_segment": lambda silver: dimensions.revenue_by_segment(
        silver["orders"], dimensions.dim_customer(silver["customers"])
    ),
    "revenue_daily": lambda silver: revenue_daily(silver["orders"]),
    "sales_by_category": lambda silver: dimensions.sales_by_category(silver["orders"]),
    "sessions": lambda silver: windows.sessions(silver["page_views"]),
    "traffic_hourly": lambda silver: windows.traffic_hourly(silver["page_views"]),
}
# What of a mart tells how its rows were delivered, and not what happened.
OF_DELIVERY = ("late_rows", "restated_at", "state", "kafka_partition", "kafka_offset", "correlation_id")
