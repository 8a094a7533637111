"""One look at everything that is promised, written down in one commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.lake import specs
from dagster_project.lake.compaction import compact
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.begun import begun
from dagster_project.slo.budget import INTERVAL_S
from dagster_project.slo.cached import Shown, nothing
from dagster_project.slo.delivery import Delivered, measure_delivery
from dagster_project.slo.lag import measure_lag
from dagster_project.slo.measurement import Measurement
from dagster_project.slo.reading import measure_reading

# When it was measured last, in milliseconds since the epoch: of two that measure at once the second writes nothing.
TICK = "tick"
_LOOKED_AT_ONCE = 16
# Each look is a file. Sixteen of them are merged into one, so that whoever reads a day need not open four thousand.
_FILES = 16


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one look has found.

    Attributes:
        problems: what could not be measured of events; it is counted at the next look that can.
    """

    measurements: Sequence[Measurement]
    problems: Sequence[str]


def measure(
    catalog: Catalog, *, storage: Storage, bootstrap: Callable[[], str], now: dt.datetime, cached: Shown = nothing
) -> Measured | None:
    """Measure all datasets and append what was found to `ops.measurements`; `None` if somebody else just has.

    Args:
        bootstrap: says where the broker is, or raises what is wrong with it.
        cached: since when versions of marts are in the cache.

    Raises:
        StaleCursorError: somebody else measured meanwhile; nothing was written.
        LakeError: the store cannot be read or written.
    """
    spec = specs.measurements()
    table = Table.find(spec, storage=storage) or Table.open(spec, storage=storage)
    known = table.cursors()
    tick = int(now.timestamp() * 1000)
    if tick - known.get(TICK, 0) < INTERVAL_S * 1000 / 2:
        return None
    with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:  # side by side, as each waits for the store
        bronzes = list(pool.map(lambda dataset: Table.find(specs.bronze(dataset), storage=storage), catalog.datasets))
        pairs = list(zip(catalog.datasets, bronzes, strict=True))
        lags = pool.submit(lambda: list(measure_lag(pairs, storage=storage, bootstrap=bootstrap, now=now)))
        starts = pool.map(lambda own: (own[0], begun(*own, known=known)), pairs)
        used = [(dataset, start) for dataset, start in starts if start is not None]
        readings = pool.map(
            lambda own: list(measure_reading(own[0], since=own[1].since, catalog=catalog, storage=storage, now=now)),
            used,
        )
        deliveries = list(
            pool.map(lambda own: _delivered(own[0], catalog, known, storage=storage, now=now, cached=cached), used)
        )
        found = [*lags.result(), *(item for own in readings for item in own)]
    delivered = [item for item in deliveries if isinstance(item, Delivered)]
    found += (item for own in delivered for item in own.measurements)
    cursors = {start.name: start.since_ms for _, start in used}
    cursors |= {name: value for own in delivered for name, value in own.cursors.items()}
    moved = {name: value for name, value in cursors.items() if known.get(name) != value}
    version = table.commit(_rows(found, now), cursors={**moved, TICK: tick}, metadata={"measurements": len(found)})
    if version % _FILES == 0:
        list(compact(spec, storage=storage))
    return Measured(measurements=found, problems=[item for item in deliveries if isinstance(item, str)])


def _delivered(
    dataset: Dataset, catalog: Catalog, known: Mapping[str, int], *, storage: Storage, now: dt.datetime, cached: Shown
) -> Delivered | str:
    """What was delivered, or why that cannot be said, which is no reason not to measure the others."""
    try:
        return measure_delivery(dataset, catalog=catalog, known=known, storage=storage, now=now, cached=cached)
    except LakehouseError as error:
        return f"{dataset.name}: {error.found}"


def _rows(measurements: Sequence[Measurement], now: dt.datetime) -> pl.DataFrame:
    schema = dict(specs.measurements().schema)
    rows = [{"at": now, **asdict(item), DATE_COLUMN: now.astimezone(dt.UTC).date()} for item in measurements]
    return pl.DataFrame(rows, schema=schema)
