"""Metrics as Prometheus would read them: parsed from the text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from dagster_project.metrics.exporter import Exporter
from dagster_project.metrics.family import Source

Labels = frozenset[tuple[str, str]]


def scraped(*sources: Source) -> dict[str, dict[Labels, float]]:
    """By name and labels, after one scrape of some sources that waits for all of them."""
    exporter = Exporter(sources)
    return parsed(exporter.text(exporter.samples(patience=None)))


def parsed(text: str) -> dict[str, dict[Labels, float]]:
    return {
        family.name: {frozenset(sample.labels.items()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def by(found: Mapping[str, Mapping[Labels, float]], name: str, *labels: str, **where: str) -> dict[str, float]:
    """Values of one metric by the values of some labels, of those that have others."""
    return {
        "/".join(dict(own)[label] for label in labels): value
        for own, value in found[name].items()
        if where.items() <= dict(own).items()
    }


def names(sources: Iterable[Source]) -> list[str]:
    return [family.name for source in sources for family in source.families]
