"""All that is asked at a scrape."""

from __future__ import annotations

from functools import partial

from dagster_project.contract.model import Catalog
from dagster_project.cost.prices import load_prices
from dagster_project.lake.storage import Storage
from dagster_project.metrics import cache, costs, lake, objectives, runs, topics
from dagster_project.metrics.family import Source
from dagster_project.services.kafka import bootstrap_servers
from dagster_project.serving.cache import Cache
from dagster_project.settings import Settings


def sources(catalog: Catalog, settings: Settings, *, failures: runs.Failures) -> tuple[Source, ...]:
    """The sources of one installation.

    Args:
        failures: what the orchestrator remembers, which is not known here.
    """
    storage = Storage.at(settings.lake_uri)
    return (
        lake.source(catalog, storage=storage),
        topics.source(catalog, storage=storage, bootstrap=partial(bootstrap_servers, settings)),
        objectives.source(catalog, storage=storage),
        cache.source(catalog, storage=storage, cache=Cache.of(settings)),
        costs.source(storage=storage, prices=load_prices(settings.prices)),
        runs.source(failures),
    )
