"""Sales of a made-up shop, one JSON object a line: what the tutorial sends. The same arguments give the same sales."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from typing import Any

_OPENED = dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC)
_REGIONS = ("north", "south")
_GOODS = ("tea", "cups", "kettle")


def sale(number: int, *, bad: int, coupon: bool) -> dict[str, Any]:
    """The sale of a number; of a hundred sales of the north `bad` have a price below zero."""
    region = _REGIONS[number % 2]
    wrong = region == "north" and number // 2 % 100 < bad
    return {
        "sale_id": f"s{number:05}",
        "sold_at": f"{_OPENED + number * dt.timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "price": -1.0 if wrong else 5 + number % 40 + 0.5,
        "lines": [{"product": _GOODS[number % 3], "quantity": 1 + number % 4}],
        **({"coupon": f"SPRING{number % 5}"} if coupon and number % 4 == 0 else {}),
    }


def main() -> None:
    """Print sales."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--bad", type=int, default=0, help="how many of a hundred of the north have a price below zero")
    parser.add_argument("--coupon", action="store_true", help="every fourth has a coupon")
    arguments = parser.parse_args()
    for number in range(arguments.first, arguments.first + arguments.count):
        sys.stdout.write(json.dumps(sale(number, bad=arguments.bad, coupon=arguments.coupon)) + "\n")


if __name__ == "__main__":
    main()
