"""Which engine a dataset or mart is worked on by: a pure function of what was measured of it and of the price book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from dagster_project.cost.deployments import BUSY, Compute, emr, glue
from dagster_project.cost.plan import break_even
from dagster_project.cost.prices import Prices
from dagster_project.errors import ConfigurationError

# local: in the run's own process.
Engine = Literal["local", "glue", "emr"]
# What a contract, the environment or a command may ask for; spark: whichever of Glue and EMR suits.
Wanted = Literal["auto", "local", "spark", "glue", "emr"]

# A job that works for less than this a day is a burst, which nobody keeps a cluster for; one that works for as long as the
# other is sustained, and a cluster costs half of what Glue does. Between them the price book decides.
BURST_H, SUSTAINED_H = 2.0, 8.0
# An engine that is in place stays until another one suits by this factor: figures of a week vary by less, and so does the
# price of a cluster with one node more.
_MARGIN = 1.25
# Of the memory a mart may use so much before it goes to disk (`lake.sandbox`). A byte of Silver's Parquet is four there
# (benchmarks/results/stages.json), and a mart that joins or sorts holds what it makes of them, too: twice that, by assumption.
_MEMORY = 0.4
IN_MEMORY = 8.0
_HOUR_S = 3600
_NAMES: Mapping[Engine, str] = {"local": "in-process", "glue": "Glue", "emr": "EMR"}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much there is to be done.

    Attributes:
        core_seconds: that a day's work takes in-process, what waits at the moment included.
        spark_times: how many times as many it takes on Spark; `None` where nobody has measured it.
        largest_bytes: as stored, of what must be held at once.
    """

    core_seconds: float
    spark_times: float | None
    largest_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """When it is to be done.

    Attributes:
        window: hours of a day in which the work must be done: while events arrive, and for as long after as their freshness
            allows.
        hours: of a day, that a job on Spark works.
        starts: of such a job, a day.
        peak: the busiest hour ÷ the mean of those in which events arrive.
    """

    window: float = 24.0
    hours: float = 24.0
    starts: float = 1.0
    peak: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where runs work.

    Attributes:
        busy: cores that others of its work take, in the mean.
    """

    cores: float
    memory_bytes: float
    busy: float = 0.0

    @property
    def free(self) -> float:
        """Cores, of those that are planned to be busy."""
        return max(0.0, self.cores * BUSY - self.busy)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Which engine, and why.

    Attributes:
        usd_per_day: of each candidate; `None` where nobody knows, as Spark was not measured.
        time_share: of what the machine can do in the window, how much the work takes; above 1 it cannot keep up.
        memory_share: of the memory that there is for it, how much the largest part takes.
        grows: how many times as much work would still be done in-process.
        even_h: hours a day at which Glue and EMR cost the same, for the same number of cores; `None`: one always costs less.
    """

    engine: Engine
    why: str
    usd_per_day: Mapping[Engine, float | None] = field(default_factory=dict)
    time_share: float
    memory_share: float
    grows: float
    even_h: float | None


def route(
    size: Size,
    cadence: Cadence,
    prices: Prices,
    override: Wanted | None = None,
    *,
    machine: Machine,
    before: Engine | None = None,
    by: str = "the contract",
) -> Route:
    """Choose an engine.

    In-process wherever it keeps up and fits into memory, as long as that costs no more. Else Spark: Glue for bursts, EMR for
    sustained work, and between these what costs less.

    Args:
        override: what was asked for; `None` is as `auto`.
        before: the engine that did the work last, which stays until another one suits by a margin.
        by: who asked for it.
    """
    found = _Judgement(size=size, cadence=cadence, prices=prices, machine=machine, before=before)
    advised = found.advised()
    match override:
        case "local" | "glue" | "emr":
            engine: Engine = override
        case "spark":
            engine = found.spark()
        case _:
            engine = advised
    why = found.why(advised)
    if engine != advised:
        why = f"{_NAMES[engine]}, as {by} says; by itself it would be {why}"
    return Route(
        engine=engine,
        why=why,
        usd_per_day=found.usd,
        time_share=found.time_share,
        memory_share=found.memory_share,
        grows=_inverse(max(found.time_share, found.memory_share)),
        even_h=found.even_h,
    )


def wanted(text: str, *, by: str) -> Wanted:
    """An engine's name as somebody wrote it.

    Raises:
        ConfigurationError: there is no such engine.
    """
    for name in get_args(Wanted):
        if text == name:
            return name
    raise ConfigurationError(
        f"{by}: engine {text!r}", expected=f"one of {', '.join(get_args(Wanted))}", remedy="write one of these"
    )


class _Judgement:
    """What follows from the figures, before anybody asks for something else."""

    def __init__(
        self, *, size: Size, cadence: Cadence, prices: Prices, machine: Machine, before: Engine | None
    ) -> None:
        self._size, self._cadence, self._machine, self._before = size, cadence, machine, before
        self._memory = machine.memory_bytes * _MEMORY / IN_MEMORY
        can = machine.free * cadence.window * _HOUR_S
        self.time_share = _ratio(size.core_seconds * cadence.peak, can)
        self.memory_share = _ratio(size.largest_bytes, self._memory)
        local = size.core_seconds / _HOUR_S / BUSY * prices.vm.vcpu_hour
        self._glue, self._emr = _ways(size, cadence, prices)
        self.usd: dict[Engine, float | None] = {
            "local": local,
            "glue": None if self._glue is None else self._glue.usd_per_day(cadence.hours),
            "emr": None if self._emr is None else self._emr.usd_per_day(cadence.hours),
        }
        even = None if self._glue is None or self._emr is None else break_even(self._glue, self._emr)
        self.even_h = None if even is None else even.hours

    def advised(self) -> Engine:
        return self.spark() if self._against() else "local"

    def _against(self) -> str:
        """What speaks against in-process; empty where nothing does."""
        # Who has gone to Spark comes back when there is room to spare, and not at the first quiet day.
        away = self._before in {"glue", "emr"}
        if self.time_share > 1:
            return "in-process does not keep up"
        if self.memory_share > 1:
            return "in-process has not the memory"
        if away and max(self.time_share, self.memory_share) > 1 / _MARGIN:
            return f"in-process could, but what is on Spark comes back below {1 / _MARGIN:.0%}"
        local, spark = self.usd["local"], self.usd[self.spark()]
        assert local is not None
        if spark is not None and local > (spark / _MARGIN if away else spark * _MARGIN):
            return "in-process could, and costs more"
        return ""

    def spark(self) -> Engine:
        """Glue or EMR."""
        hours = self._cadence.hours
        # The bounds hold for who comes; who is in place may stay a little beyond its own.
        if hours < BURST_H * (_MARGIN if self._before == "glue" else 1.0):
            return "glue"
        if hours >= SUSTAINED_H / (_MARGIN if self._before == "emr" else 1.0):
            return "emr"
        on_glue, on_emr = self.usd["glue"], self.usd["emr"]
        if on_glue is None or on_emr is None:
            return "emr" if self._before == "emr" else "glue"
        favour = {"glue": _MARGIN, "emr": 1 / _MARGIN}.get(self._before or "", 1.0)
        return "emr" if on_emr * favour <= on_glue else "glue"

    def why(self, engine: Engine) -> str:
        """The figures that speak for an engine, in words."""
        if engine == "local":
            return f"in-process: {self._fit()}; {self._dollars()}"
        hours, starts = self._cadence.hours, self._cadence.starts
        if hours < BURST_H:
            rule = f"a burst, below {BURST_H:g} h"
        elif hours >= SUSTAINED_H:
            rule = f"sustained, {SUSTAINED_H:g} h and more"
        elif engine == self._before:
            rule = f"between {BURST_H:g} and {SUSTAINED_H:g} h, where it stays unless the other costs a fifth less"
        else:
            rule = f"between {BURST_H:g} and {SUSTAINED_H:g} h, where it costs less"
        return (
            f"{_NAMES[engine]}: {self._against()}: {self._fit()}; on Spark {hours:.1f} h a day in {starts:,.3g} jobs, {rule}; "
            f"{self._dollars()}"
        )

    def _fit(self) -> str:
        size, cadence, machine = self._size, self._cadence, self._machine
        peak = "" if cadence.peak == 1 else f", {cadence.peak:.1f} times the mean at its peak,"
        time = (
            f"{size.core_seconds:,.0f} core-seconds a day{peak} are {_percent(self.time_share)} of what {machine.free:.1f} "
            f"free cores do in {cadence.window:.1f} h"
        )
        if not size.largest_bytes:
            return time
        return f"{time}, its largest part {_percent(self.memory_share)} of the {_mebibytes(self._memory)} that fit into memory"

    def _dollars(self) -> str:
        known = [f"{usd:,.2f} {_where(name)}" for name, usd in self.usd.items() if usd is not None]
        rest = "" if len(known) == len(self.usd) else ", on Spark nobody knows, as it was not measured"
        return f"USD a day: {', '.join(known)}{rest}"


def _ways(size: Size, cadence: Cadence, prices: Prices) -> tuple[Compute | None, Compute | None]:
    """Glue, and of the ways to have EMR the one that costs least."""
    if size.spark_times is None:
        return None, None
    mean = _ratio(size.core_seconds * size.spark_times, cadence.hours * _HOUR_S) / BUSY
    on_glue = glue(mean, mean * cadence.peak, prices, starts=cadence.starts)
    on_emr = min(
        emr(mean, mean * cadence.peak, prices, starts=cadence.starts), key=lambda way: way.usd_per_day(cadence.hours)
    )
    return on_glue, on_emr


def _ratio(part: float, whole: float) -> float:
    if part <= 0:
        return 0.0
    return part / whole if whole > 0 else float("inf")


def _inverse(share: float) -> float:
    return 1 / share if share else float("inf")


def _percent(share: float) -> str:
    return "more than 1,000 %" if share > 10 else f"{share * 100:,.3g} %"  # noqa: PLR2004 as the words say


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _where(engine: Engine) -> str:
    return _NAMES[engine] if engine == "local" else f"on {_NAMES[engine]}"
