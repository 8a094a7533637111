"""The cache of what is served, as a Dagster resource."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import dagster as dg

from dagster_project.contract.model import Mart
from dagster_project.lake.table import Table
from dagster_project.serving.cache import Cache
from dagster_project.serving.publish import publish
from dagster_project.settings import Settings


class CacheResource(dg.ConfigurableResource[Cache]):
    """The cache of REDIS_URL, or the local one of a home; looked up at each use, as it may be started at any time.

    Its URL is no part of the configuration, which the UI shows.

    Attributes:
        home: of the local one.
        uri: root of the lake whose marts it has.
    """

    home: str
    uri: str

    def cache(self) -> Cache:
        return _shared(self.home, self.uri)

    def publish(self, mart: Mart, gold: Table) -> str:
        """Bring the cache to where Gold is, and say in words what became of it; never raises for the cache's sake."""
        return str(publish(mart, gold, cache=self.cache()))


@functools.cache
def _shared(home: str, uri: str) -> Cache:
    """One for each lake in the process, so that a standing process remembers how the cache is."""
    return Cache.of(replace(Settings.from_environment(), home=Path(home), lake_uri=uri))
