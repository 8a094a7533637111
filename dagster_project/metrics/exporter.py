"""Asks all sources side by side at each scrape, and answers in time whether or not they do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from dagster_project.errors import LakehouseError
from dagster_project.metrics.family import Family, Sample, Source

_LOGGER = logging.getLogger(__name__)
# A scrape takes no longer than this and what it takes to write the answer: below a second, which is nothing beside the usual
# time-out of ten. What a source says later is in the next answer.
PATIENCE_S = 0.8
# What was found longer ago than this is not said any more: four scrapes of the usual 15 s.
_STALE_S = 60.0

UP = Family(
    name="lakehouse_source_up",
    help="1 if a source answers: lake, broker, objectives, cache, cost or runs; else 0",
    unit="1",
    labels=("source",),
)
AGE = Family(
    name="lakehouse_source_age_seconds",
    help="How long ago what a source says was found",
    unit="seconds",
    labels=("source",),
)
TOOK = Family(name="lakehouse_source_seconds", help="How long it took to find that", unit="seconds", labels=("source",))
SCRAPE = Family(name="lakehouse_scrape_seconds", help="How long this answer took", unit="seconds")
FAMILIES = (UP, AGE, TOOK, SCRAPE)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a source said, or what is wrong with it; `at` in seconds since the epoch."""

    at: float
    seconds: float
    samples: Sequence[Sample] = ()
    error: str = ""


@dataclass(kw_only=True)
class _Asked:
    """A source, its newest answer, its newest good one, and the one that is awaited."""

    source: Source
    coming: Future[_Answer] | None = None
    good: _Answer | None = None
    error: str = ""

    def stands(self, now: float) -> bool:
        """Whether what was found last is still to be said."""
        return self.good is not None and not self.error and now - self.good.at < self.source.every_s


class Exporter:
    """A collector of `prometheus_client`."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._asked = [_Asked(source=source) for source in sources]
        self._lock = threading.Lock()
        self.families = (*(family for asked in self._asked for family in asked.source.families), *FAMILIES)

    def text(self, samples: Iterable[Sample]) -> str:
        """Samples in Prometheus's text format."""
        return _text(self.families, samples)

    def silent(self) -> list[str]:
        """Sources that did not answer when they were asked last."""
        return [asked.source.name for asked in self._asked if asked.error]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """As `prometheus_client` asks for it."""
        return _metrics(self.families, self.samples())

    def samples(self, *, patience: float | None = PATIENCE_S) -> list[Sample]:
        """What the sources say, or said a moment ago.

        Args:
            patience: seconds to wait for them; `None`: until all have answered.
        """
        with self._lock:  # two scrapes at once share the answers
            began = time.monotonic()
            for asked in self._asked:
                if asked.coming is None and not asked.stands(time.time()):
                    asked.coming = _ask(asked.source)
            wait([asked.coming for asked in self._asked if asked.coming is not None], timeout=patience)
            now = time.time()
            found = [sample for asked in self._asked for sample in self._said(asked, now)]
            return [*found, SCRAPE.of(time.monotonic() - began)]

    def _said(self, asked: _Asked, now: float) -> Iterator[Sample]:
        if asked.coming is not None and asked.coming.done():
            answer, asked.coming = asked.coming.result(), None
            if answer.error != asked.error:  # told when it comes and when it goes, not at each scrape
                _LOGGER.warning("%s: %s", asked.source.name, answer.error or "answers again")
            asked.error = answer.error
            if not answer.error:
                asked.good = answer
        name, good = asked.source.name, asked.good
        fresh = good is not None and now - good.at <= asked.source.every_s + _STALE_S
        yield UP.of(fresh and not asked.error, name)
        if good is not None:
            yield AGE.of(now - good.at, name)
            yield TOOK.of(good.seconds, name)
            if fresh:
                yield from good.samples


def _ask(source: Source) -> Future[_Answer]:
    """In a thread of its own, which keeps no process from ending while a broker does not answer."""
    coming: Future[_Answer] = Future()
    thread = threading.Thread(
        target=lambda: coming.set_result(_read(source)), name=f"source-{source.name}", daemon=True
    )
    thread.start()
    return coming


def _read(source: Source) -> _Answer:
    now, began = time.time(), time.monotonic()
    try:
        samples = list(source.read(now))
    except LakehouseError as error:
        return _Answer(at=now, seconds=time.monotonic() - began, error=str(error))
    except Exception as error:  # a fault of one source must not end the others
        _LOGGER.exception("%s", source.name)
        return _Answer(at=now, seconds=time.monotonic() - began, error=f"{type(error).__name__}: {error}")
    return _Answer(at=now, seconds=time.monotonic() - began, samples=samples)


def _metrics(families: Iterable[Family], samples: Iterable[Sample]) -> Iterator[GaugeMetricFamily]:
    """Each family once, those without a value too: so that what is asked of it is known to exist."""
    found = {family: GaugeMetricFamily(family.name, family.help, labels=family.labels) for family in families}
    for family, labels, value in samples:
        found[family].add_metric(labels, value)
    return iter(found.values())


def _text(families: Iterable[Family], samples: Iterable[Sample]) -> str:
    class Once:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            return _metrics(families, samples)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry).decode()
