"""The customers' history in pandas, and what somebody was at a moment."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

import pandas as pd

ATTRIBUTES = ["region", "segment", "country"]
CATEGORIES = ("books", "clothing", "electronics", "garden", "grocery", "home", "sports", "toys")


def dim_customer(customers: pd.DataFrame) -> pd.DataFrame:
    """The versions of each customer: from when to when they were what.

    Args:
        customers: Silver, with deletes. A change of nothing but the email begins no version.
    """
    found: list[dict[str, object]] = []
    for customer_id, changes in customers.sort_values("event_time").groupby("customer_id"):
        version: dict[str, object] | None = None
        for change in changes.to_dict("records"):
            now = None if change["deleted"] else {name: change[name] for name in ATTRIBUTES}
            if version is not None and now != {name: version[name] for name in ATTRIBUTES}:
                found.append({**version, "valid_to": change["event_time"], "is_current": False})
                version = None
            if version is None and now is not None:
                version = {"customer_id": customer_id, **now, "valid_from": change["event_time"]}
        if version is not None:
            found.append({**version, "valid_to": pd.NaT, "is_current": True})
    columns = ["customer_id", *ATTRIBUTES, "valid_from", "valid_to", "is_current"]
    frame = pd.DataFrame(found, columns=columns).sort_values(["customer_id", "valid_from"]).reset_index(drop=True)
    return frame.assign(valid_to=pd.to_datetime(frame["valid_to"], utc=True).dt.as_unit("us"))


def as_of(facts: pd.DataFrame, versions: pd.DataFrame, at: str) -> pd.DataFrame:
    """Each fact with the version of its customer that held at its time, or with nulls where there was none."""
    asked = facts.reset_index(names="fact")[["fact", "customer_id", at]]
    pairs = asked.merge(versions.rename(columns={"region": "lives_in"}), on="customer_id")
    holds = (pairs["valid_from"] <= pairs[at]) & (pairs["valid_to"].isna() | (pairs[at] < pairs["valid_to"]))
    held = pairs[holds].set_index("fact")[["lives_in", "segment", "country", "valid_from"]]
    return facts.join(held, validate="1:1")


def revenue_by_segment(orders: pd.DataFrame, versions: pd.DataFrame) -> pd.DataFrame:
    """Orders and what they brought in, by what the customer was when the order was placed."""
    keys = ["event_date", "region", "currency", "segment"]
    placed = as_of(orders, versions, "ordered_at").fillna({"segment": "unknown"})
    kept = placed["status"] != "cancelled"
    measured = placed.assign(orders=kept.astype(int), revenue=placed["amount"].where(kept, other=0))
    return measured.groupby(keys, as_index=False)[["orders", "revenue"]].sum()


def sales_by_category(orders: pd.DataFrame) -> pd.DataFrame:
    """What was ordered, by the category of the article, which its number tells."""
    lines = orders[orders["status"] != "cancelled"].explode("items")
    items = pd.DataFrame(list(lines["items"]), index=lines.index)
    measured = lines.assign(
        category=items["sku"].str[-4:].astype(int).mod(len(CATEGORIES)).map(dict(enumerate(CATEGORIES))),
        units=items["quantity"],
        revenue=items["quantity"] * items["unit_price"],
    )
    keys = ["event_date", "region", "currency", "category"]
    return measured.groupby(keys, as_index=False)[["units", "revenue"]].sum()
