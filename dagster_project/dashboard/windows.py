"""Marts of windows: their newest figures by region, and how many windows are open, closed and restated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, Catalog, Mart
from dagster_project.dashboard.census import Census
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.serving.cache import Cache
from dagster_project.serving.reader import Reader, Served

# As docs/windows.md has them.
START, END, STATE, LATE, RESTATED = "window_start", "window_end", "state", "late_rows", "restated_at"
# Steps of a chart: an hour of minutes.
_WINDOWS = 60
# Lines of a chart that can be told from one another.
_SERIES = 6


@dataclass(frozen=True, kw_only=True)
class States:
    """How the windows of a mart stand.

    Attributes:
        late_rows: that restated windows, or came to windows that are still open.
        restated_at: when the last of them was sent; `None` if there was none.
    """

    mart: str
    open: int
    closed: int
    restated: int
    late_rows: int
    restated_at: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """The values of one region, and of what else the mart tells apart; `None` where it has no row."""

    label: str
    values: tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure of a mart; its values as text, so that decimals stay exact."""

    name: str
    description: str
    series: tuple[Series, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The newest windows of a mart.

    Attributes:
        version: of the mart, that they are of.
        source: `cache` or `gold`.
        stale_since: since when the cache cannot be read or lacks this version; `None`: all is well.
        window_s: length of a window.
        at: when each window begins, in seconds since the epoch.
        states: of each window: open if it is open in any region, else restated if it is so in any.
        left_out: series that are not shown, as they would be too many.
    """

    mart: str
    description: str
    version: int
    source: str
    stale_since: dt.datetime | None
    window_s: int
    at: tuple[int, ...]
    states: tuple[str, ...]
    measures: tuple[Measure, ...]
    left_out: int


def window_marts(catalog: Catalog) -> tuple[Mart, ...]:
    """Marts of windows that begin at a column `window_start` of their key."""
    return tuple(mart for mart in catalog.marts if mart.window is not None and START in mart.merge_key)


class StateReader:
    """Counts windows by state; of what it has counted it reads nothing again."""

    def __init__(self, catalog: Catalog, *, storage: Storage) -> None:
        wanted = {START, STATE, LATE, RESTATED}
        self._marts = [mart for mart in window_marts(catalog) if wanted <= {column.name for column in mart.columns}]
        self._storage = storage
        self._counts = {mart.name: Census(_by_state) for mart in self._marts}

    def read(self) -> tuple[States, ...]:
        """Of each mart of windows that was computed at least once.

        Raises:
            LakehouseError: a mart cannot be read.
        """
        found: list[States] = []
        for mart in self._marts:
            gold = Table.find(specs.gold(mart), storage=self._storage)
            if gold is not None:
                found.append(_states(mart, self._counts[mart.name].of(gold, gold.files())))
        return tuple(found)


def _by_state(rows: pl.LazyFrame) -> pl.LazyFrame:
    # A window of several currencies is one window in each.
    return rows.group_by("_path", STATE).agg(
        pl.len().cast(pl.Int64).alias("windows"), pl.sum(LATE).cast(pl.Int64), pl.max(RESTATED)
    )


def _states(mart: Mart, counted: pl.DataFrame) -> States:
    windows = dict(counted.group_by(STATE).agg(pl.sum("windows")).iter_rows())
    last = counted[RESTATED].max()
    assert last is None or isinstance(last, dt.datetime)
    return States(
        mart=mart.name,
        open=windows.get("open", 0),
        closed=windows.get("closed", 0),
        restated=windows.get("restated", 0),
        late_rows=int(counted[LATE].sum()),
        restated_at=last,
    )


def chart(mart: Mart, served: Served) -> Chart | None:
    """The newest windows of a mart, of which at least the newest are served; `None` if there are none."""
    rows = served.rows
    if rows.is_empty():
        return None
    assert mart.window is not None
    # By time and not by number: where nothing happened there is no window, and a line across would say that there was one.
    rows = rows.filter(pl.col(START) > pl.col(START).max() - _WINDOWS * mart.window)
    starts = rows[START].unique().sort()
    dimensions = [name for name in mart.merge_key if name not in {DATE_COLUMN, START}]
    label = pl.concat_str(dimensions, separator=" · ") if dimensions else pl.lit("all")
    rows = rows.with_columns(label.alias("_label"))
    labels = _largest(rows)
    length = rows.select((pl.col(END) - pl.col(START)).dt.total_seconds().max()).item() if END in rows.columns else None
    return Chart(
        mart=mart.name,
        description=mart.description,
        version=served.version,
        source=served.source,
        stale_since=served.stale_since,
        window_s=length or int(mart.window.total_seconds()),
        at=tuple(int(start.timestamp()) for start in starts),
        states=tuple(_state(rows, starts)),
        measures=tuple(
            Measure(
                name=column.name,
                description=column.description,
                series=tuple(_series(rows, starts, column.name, labels)),
            )
            for column in mart.columns
            if column.type.kind in {"integer", "number", "decimal"} and column.name not in {*mart.merge_key, LATE}
        ),
        left_out=rows["_label"].n_unique() - len(labels),
    )


def _largest(rows: pl.DataFrame) -> list[str]:
    """Labels with the most windows, in alphabetical order, so that a line keeps its colour."""
    counts = rows.group_by("_label").len().sort("len", "_label", descending=[True, False])
    return sorted(counts["_label"].head(_SERIES))


def _series(rows: pl.DataFrame, starts: pl.Series, measure: str, labels: Iterable[str]) -> Iterable[Series]:
    values: dict[tuple[str, dt.datetime], object] = {
        (label, start): value for label, start, value in rows.select("_label", START, measure).iter_rows()
    }
    for label in labels:
        found = (values.get((label, start)) for start in starts)
        yield Series(label=label, values=tuple(None if value is None else str(value) for value in found))


def _state(rows: pl.DataFrame, starts: pl.Series) -> Iterable[str]:
    if STATE not in rows.columns:
        return
    states: Mapping[dt.datetime, list[str]] = dict(rows.group_by(START).agg(pl.col(STATE).unique()).iter_rows())
    for start in starts:
        own = states[start]
        yield next((state for state in ("open", "restated") if state in own), "closed")


class ChartReader:
    """Reads the newest windows of all marts of windows: from the cache, or from Gold while that is away."""

    def __init__(self, catalog: Catalog, *, storage: Storage, cache: Cache) -> None:
        self._marts = window_marts(catalog)
        self._reader = Reader(storage=storage, cache=cache)

    def read(self) -> tuple[Chart, ...]:
        """Of each mart that has a window.

        Raises:
            LakehouseError: a mart can be read nowhere.
        """
        found = (chart(mart, self._reader.read(mart)) for mart in self._marts)
        return tuple(item for item in found if item is not None)
