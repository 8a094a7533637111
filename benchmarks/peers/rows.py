"""The contract of orders as one writes it down in Python: a function for a message, a dict for a row."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

Row = dict[str, Any]
# By path alone: peers have an environment without the platform's libraries.
MART = Path(__file__).resolve().parent.parent / "contracts" / "retail" / "marts" / "revenue_daily.sql"

_MONEY = pa.decimal128(18, 2)
_MOMENT = pa.timestamp("us", tz="UTC")
_ITEM = pa.struct([("sku", pa.string()), ("quantity", pa.int32()), ("unit_price", _MONEY)])
COORDINATES = pa.schema([("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())])
MESSAGE = pa.schema([*COORDINATES, ("kafka_timestamp", _MOMENT), ("payload", pa.binary())])
SILVER = pa.schema(
    [
        ("order_id", pa.string()),
        ("ordered_at", _MOMENT),
        ("event_time", _MOMENT),
        ("region", pa.string()),
        ("status", pa.string()),
        ("customer_id", pa.string()),
        ("currency", pa.string()),
        ("amount", _MONEY),
        ("items", pa.list_(_ITEM)),
        ("note", pa.string()),
        ("event_date", pa.date32()),
        *COORDINATES,
    ]
)
BRONZE = pa.schema([*MESSAGE, *(field for field in SILVER if field.name not in COORDINATES.names)])
BAD = pa.schema([*MESSAGE, ("error", pa.string())])
GOLD = pa.schema(
    [
        ("event_date", pa.date32()),
        ("region", pa.string()),
        ("currency", pa.string()),
        ("orders", pa.int64()),
        ("cancelled", pa.int64()),
        ("units", pa.int64()),
        ("revenue", _MONEY),
    ]
)

_SKU = re.compile(r"[A-Z0-9-]{3,32}")
_REGIONS = frozenset({"eu", "us", "apac", "latam", "mea"})
_STATUSES = frozenset({"created", "paid", "shipped", "cancelled"})
_CURRENCIES = frozenset({"EUR", "USD", "JPY"})
RULES: dict[str, Callable[[Row], bool]] = {
    "order_id": lambda row: isinstance(row["order_id"], str) and len(row["order_id"]) == 36,
    "region": lambda row: row["region"] in _REGIONS,
    "status": lambda row: row["status"] in _STATUSES,
    "customer_id": lambda row: isinstance(row["customer_id"], str) and 1 <= len(row["customer_id"]) <= 40,
    "currency": lambda row: row["currency"] in _CURRENCIES,
    "amount": lambda row: 0 <= row["amount"] <= 1_000_000,
    "items": lambda row: 1 <= len(row["items"]) <= 200 and all(map(_is_sound, row["items"])),
    "note": lambda row: row["note"] is None or (isinstance(row["note"], str) and len(row["note"]) <= 500),
    "event_time": lambda row: row["event_time"] >= row["ordered_at"],
}
# What a message can raise that is not what it should be: bad UTF-8 and bad JSON, a rule, a missing field, a value of
# another type, an amount that is no number.
BROKEN = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError)


def take(
    payload: bytes,
    loads: Callable[[bytes], Any],
    *,
    partition: int | None,
    offset: int | None,
    milliseconds: int,
    rows: list[Row],
    bad: list[Row],
) -> None:
    """Add a message to the rows of Bronze, or to those that are broken.

    Args:
        loads: parses JSON.
        milliseconds: the message's own time.
    """
    row: Row = {
        "kafka_partition": partition,
        "kafka_offset": offset,
        "kafka_timestamp": milliseconds * 1000,
        "payload": payload,
    }
    try:
        rows.append(row | decode(loads(payload)))
    except BROKEN as error:
        bad.append(row | {"error": repr(error)})


def decode(event: dict[str, Any]) -> Row:
    """A row of Silver but for its coordinates, from a message's JSON.

    Raises:
        ValueError: a rule does not hold; its name.
        KeyError, TypeError, AttributeError, ArithmeticError: as `BROKEN` says.
    """
    row: Row = {
        "order_id": event["order_id"],
        "ordered_at": datetime.fromisoformat(event["ordered_at"]),
        "event_time": datetime.fromisoformat(event["event_time"]),
        "region": event["region"],
        "status": event["status"],
        "customer_id": event["customer_id"],
        "currency": event["currency"],
        "amount": _money(event["amount"]),
        "items": [
            {"sku": item["sku"], "quantity": item["quantity"], "unit_price": _money(item["unit_price"])}
            for item in event["items"]
        ],
        "note": event.get("note"),
    }
    for name, holds in RULES.items():
        if not holds(row):
            raise ValueError(name)
    row["event_date"] = row["ordered_at"].date()
    return row


def revenue_daily(silver: Any) -> pa.Table:  # pyright: ignore[reportUnknownParameterType] pyarrow has no types
    """Gold: the mart's own SQL in DuckDB over Silver, anything that DuckDB can read."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA silver")
        connection.register("_orders", silver)
        connection.execute("CREATE VIEW silver.orders AS SELECT * FROM _orders")
        return connection.sql(MART.read_text(encoding="utf-8")).to_arrow_table().select(GOLD.names).cast(GOLD)


def _is_sound(item: dict[str, Any]) -> bool:
    quantity = item["quantity"]
    return (
        _SKU.fullmatch(item["sku"]) is not None
        and type(quantity) is int
        and 1 <= quantity <= 999
        and item["unit_price"] >= 0
    )


def _money(value: Any) -> Decimal:
    # A float's shortest text is what was sent, so that no cent is lost either way.
    return value if isinstance(value, Decimal) else Decimal(str(value))
