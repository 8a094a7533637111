"""The tables of docs/scale.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.scale.day import DAY_S, day
from benchmarks.scale.figures import Figures
from benchmarks.scale.model import RATES, Need, limits, need
from benchmarks.scale.race import race
from dagster_project.cost.prices import Prices

# Of the tables about one dataset and about one log.
_DATASET_RATES = (100, 1_000, 3_000, 10_000, 30_000)
_WRITERS = (1, 2, 4, 8, 16, 32)
_EVERY = (1.0, 2.0, 5.0)
_HOUR_S = 3600


def tables(figures: Figures, prices: Prices) -> dict[str, str]:
    """By name, as the page marks them."""
    return {
        "figures": _table(("number", "what it is", "", "where it is from"), "rlll", _sources(figures)),
        "needs": _needs([need(rate, figures, prices) for rate in RATES]),
        "limits": _table(
            ("events a second", "what is used up", "what to change then"),
            "rll",
            ((_number(one.rate), one.what, one.change) for one in limits(figures, prices)),
        ),
        "day": _table(
            ("events a second", "at noon", "at midnight", "rounds", "files by midnight", "GETs", "CPU, core-hours"),
            "rrrrrrr",
            _days(figures),
        ),
        "race": _table(
            ("writers", *(f"a batch each {every:g} s" for every in _EVERY)), "r" + "r" * len(_EVERY), _races(figures)
        ),
    }


def _sources(figures: Figures) -> Iterator[Sequence[str]]:
    for _, figure in figures:
        source = f"<{figure.source}>" if figure.source.startswith("http") else figure.source
        yield _number(figure.value), figure.says, figure.kind, source


def _needs(found: Sequence[Need]) -> str:
    lines: tuple[tuple[str, Callable[[Need], str]], ...] = (
        ("into Kafka, 10⁶ bytes a second", lambda one: _number(one.mb_s)),
        ("Kafka partitions, at the least", lambda one: f"{one.partitions:,}"),
        ("MSK brokers (replicas on each)", lambda one: f"{one.brokers:,} ({one.replicas:,})"),
        ("datasets that carry it in-process", lambda one: f"{one.datasets:,}"),
        ("runs of Bronze at once", lambda one: f"{one.shards:,}"),
        ("runs at once, of all stages", lambda one: f"{one.runs:,}"),
        ("their memory, GiB", lambda one: _number(one.memory_gib)),
        ("cores, with a reserve of 30 %", lambda one: _number(one.cores)),
        ("an event waits at midnight, at the most", lambda one: _seconds(one.one.behind_s)),
        ("commits a second, all tables", lambda one: _number(one.one.commits / DAY_S * one.datasets)),
        ("files of a day, before compaction", lambda one: _number(one.one.files * one.datasets)),
        ("PUTs a second of the busiest prefix (3,500)", lambda one: _number(one.puts)),
        ("GETs a second of the busiest prefix (5,500)", lambda one: _number(one.gets)),
        ("stored, TB a day", lambda one: _number(one.stored_tb)),
        ("kept for 30 days, TB", lambda one: _number(one.kept_tb)),
        ("events of Dagster a day", lambda one: _number(one.told)),
        ("hours to write them, on SQLite", lambda one: _number(one.told_h)),
        ("the router, on 96 vCPUs", lambda one: f"{one.route.engine}, {_share(one.route.time_share)}"),
        ("in-process: deployment", lambda one: f"{one.platform.compute}, {one.platform.vcpus:,} vCPUs"),
        ("… machine, USD a day", lambda one: _dollars(one.platform.machine)),
        ("… MSK with 7 days, USD a day", lambda one: _dollars(one.platform.stream_usd)),
        ("… S3 with 30 days, USD a day", lambda one: _dollars(one.platform.store)),
        ("… all, USD a day", lambda one: _dollars(one.platform.usd_per_day)),
        ("Spark: deployment", lambda one: f"{one.spark.compute}, {one.spark.vcpus:,} vCPUs"),
        ("… machine, USD a day", lambda one: _dollars(one.spark.machine)),
        ("… all, USD a day", lambda one: _dollars(one.spark.usd_per_day)),
    )
    rows = ((name, *(value(one) for one in found)) for name, value in lines)
    return _table(("", *(f"{one.rate:,} events/s" for one in found)), "l" + "r" * len(found), rows)


def _days(figures: Figures) -> Iterator[Sequence[str]]:
    for rate in _DATASET_RATES:
        noon, whole = day(rate, figures, until_s=DAY_S / 2), day(rate, figures)
        yield (
            f"{rate:,}",
            *(_seconds(one.behind_s) for one in (noon, whole)),
            _number(whole.rounds),
            _number(whole.files),
            _number(whole.gets),
            _number(whole.cpu_s / _HOUR_S),
        )


def _races(figures: Figures) -> Iterator[Sequence[str]]:
    for writers in _WRITERS:
        found = (
            race(writers=writers, every=every, put_s=figures.put_s.value, get_s=figures.get_s.value) for every in _EVERY
        )
        yield f"{writers}", *(f"{one.commits:.1f}/s, {one.tries:.1f} tries" for one in found)


def _table(names: Sequence[str], sides: str, rows: Iterator[Sequence[str]]) -> str:
    lines = [names, ["---:" if side == "r" else "---" for side in sides], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    """Three digits, and no more of them than are known."""
    if value >= 100:  # noqa: PLR2004 below it there are digits after the point
        digits = 3 - len(f"{value:.0f}")
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"


def _share(value: float) -> str:
    return f"{_number(value * 100)} %"


def _dollars(value: float) -> str:
    return _number(value)


def _seconds(value: float) -> str:
    if value > DAY_S:
        return "more than a day"
    return f"{_number(value / 60)} min" if value >= 120 else f"{_number(value)} s"  # noqa: PLR2004 two minutes
