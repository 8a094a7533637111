"""Retail orders by column: what was bought, and the JSON text that all events of an order share."""

from __future__ import annotations

import functools
import json

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.text import moments, money, uuids

# Currency and share of the orders; uneven on purpose, as table partitions are in life.
REGIONS = {"eu": ("EUR", 35), "us": ("USD", 30), "apac": ("JPY", 20), "latam": ("USD", 10), "mea": ("EUR", 5)}
STATUSES = pl.Series(["created", "paid", "shipped", "cancelled"])
CANCELLED = 3
_CUSTOMERS = pl.Series([f"c-{number:05d}" for number in range(50_000)])
SKUS = 500
QUANTITIES = 5
PRICE_CENTS = (100, 20_000)
# Two to four lines make payloads of 300 to 500 bytes.
LINES = (2, 4)
# Half of the orders have no such field, or one without a value.
_NOTES: tuple[str | None, ...] = (
    "please ring twice 🔔",
    'say "happy birthday" 🎂',
    "first line\nsecond line\ttab",
    "naïve façade in Zürich, 東京",
    "back\\slash / slash",
    "leave it with the neighbours at no. 12",
    "",
    "the gate is open until 19:00, then ring",
    "call +00 555 0100 before delivery",
    "a present: no invoice in the parcel",
    *(None,) * 10,
)
_FIELDS = (
    # Every other note is escaped to ASCII: both are the same JSON.
    *(
        f',"note":{json.dumps(note, ensure_ascii=number % 2 == 0)}'
        for number, note in enumerate(_NOTES)
        if note is not None
    ),
    *(',"note":null',) * 2,
)
# By note, the end of the JSON text.
_ENDS = pl.Series([f"{field}}}" for field in (*_FIELDS, *[""] * (len(_NOTES) - len(_FIELDS)))])
_NO_LINE = SKUS * QUANTITIES


def place_orders(rng: np.random.Generator, placed_ms: NDArray[np.int64], regions: tuple[str, ...]) -> pl.DataFrame:
    """Orders that were placed at these moments (since the epoch).

    Returns:
        Columns of the contract but `event_time` and `status`; `units`, and `cents` of it all; and three parts of JSON
        text: `head` before the event's time, `middle` between that and its status, `tail` after it.
    """
    count = len(placed_ms)
    shares = np.array([REGIONS[region][1] for region in regions], float)
    place = rng.choice(len(regions), count, p=shares / shares.sum())
    lengths = rng.integers(LINES[0], LINES[1] + 1, count)
    lines = rng.integers(0, _NO_LINE, (count, LINES[1]))
    lines[np.arange(LINES[1]) >= lengths[:, None]] = _NO_LINE
    catalogue = _catalogue()
    cents = catalogue["cents"].to_numpy()[lines].sum(axis=1)
    amount = money(cents)
    note = rng.integers(0, len(_NOTES), count)
    frame = pl.DataFrame(
        {
            "order_id": uuids(rng, count),
            "ordered_at": pl.Series(placed_ms).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC")),
            "region": pl.Series(regions).gather(place),
            "customer_id": _CUSTOMERS.gather(rng.integers(0, len(_CUSTOMERS), count)),
            "currency": pl.Series([REGIONS[region][0] for region in regions]).gather(place),
            "amount": amount.str.to_decimal(scale=2).cast(pl.Decimal(18, 2)),
            "items": _items(lines, lengths),
            "note": pl.Series(_NOTES, dtype=pl.String).gather(note),
            "units": catalogue["quantity"].to_numpy()[lines].sum(axis=1),
            "cents": cents,
        }
    )
    texts = {
        "_moment": moments(placed_ms),
        "_amount": amount,
        "_note": _ENDS.gather(note),
        **{f"_line{column}": catalogue["text"].gather(lines[:, column]) for column in range(LINES[1])},
    }
    head = pl.concat_str(
        pl.lit('{"order_id":"'), "order_id", pl.lit('","ordered_at":"'), "_moment", pl.lit('","event_time":"')
    )
    middle = pl.concat_str(pl.lit('","region":"'), "region", pl.lit('","status":"'))
    tail = pl.concat_str(
        pl.lit('","customer_id":"'), "customer_id", pl.lit('","currency":"'), "currency", pl.lit('","amount":'), "_amount",
        pl.lit(',"items":['), pl.concat_str(f"_line{column}" for column in range(LINES[1])).str.strip_prefix(","),
        pl.lit("]"), "_note",
    )  # fmt: skip
    return frame.with_columns(**texts).with_columns(head=head, middle=middle, tail=tail).drop(texts)


@functools.cache
def _catalogue() -> pl.DataFrame:
    """All that a line of an order can be: its columns, `cents` of it all, its JSON `text`. The last one is no line."""
    price = np.repeat(np.random.default_rng(0).integers(*PRICE_CENTS, SKUS), QUANTITIES)
    quantity = np.tile(np.arange(1, QUANTITIES + 1), SKUS)
    lines = pl.DataFrame(
        {
            "sku": [f"SKU-{number:04d}" for number in range(SKUS) for _ in range(QUANTITIES)],
            "quantity": quantity,
            "unit_price": money(price),
            "cents": price * quantity,
        }
    ).with_columns(
        text=pl.concat_str(
            pl.lit(',{"sku":"'), "sku", pl.lit('","quantity":'), "quantity", pl.lit(',"unit_price":'), "unit_price",
            pl.lit("}"),
        )
    )  # fmt: skip
    nothing = pl.DataFrame({"sku": "", "quantity": 0, "unit_price": "0.00", "cents": 0, "text": ""})
    return pl.concat([lines, nothing]).with_columns(
        pl.col("quantity").cast(pl.Int32), pl.col("unit_price").str.to_decimal(scale=2).cast(pl.Decimal(18, 2))
    )


def _items(lines: NDArray[np.int64], lengths: NDArray[np.int64]) -> pl.Series:
    present = (
        _catalogue()
        .select(pl.struct("sku", "quantity", "unit_price").alias("item"))["item"]
        .gather(lines[lines < _NO_LINE])
    )
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return pl.Series(pa.LargeListArray.from_arrays(pa.array(ends), present.to_arrow()))
