"""What the last day has cost."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from dagster_project.cost.prices import Prices
from dagster_project.cost.report import AssetCost, report, total
from dagster_project.lake.storage import Storage

_SPAN = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of the runs that ended in the last day.

    Attributes:
        hours: how long that is.
        assets: the dearest first.
        total: of all of them; each event counts once.
    """

    hours: int
    assets: tuple[AssetCost, ...]
    total: AssetCost


def read_costs(*, storage: Storage, prices: Prices, now: dt.datetime) -> Costs | None:
    """What was recorded up to a moment; `None` if that is nothing.

    Raises:
        LakeError: the store cannot be read.
    """
    found = report(storage=storage, prices=prices, since=now - _SPAN, until=now)
    if not found:
        return None
    ordered = tuple(sorted(found, key=lambda asset: -asset.usd))
    return Costs(hours=int(_SPAN.total_seconds()) // 3600, assets=ordered, total=total(found))
