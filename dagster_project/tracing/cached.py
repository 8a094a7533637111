"""When what an event made of a mart came to the cache, where that is known."""

from __future__ import annotations

from dagster_project.contract.model import Mart
from dagster_project.errors import CacheError
from dagster_project.lake.table import Table
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import visible_at
from dagster_project.tracing.story import Step


class Shelf:
    """Asks the cache; once it has not answered, not again.

    Attributes:
        notes: why it has not answered.
    """

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache if cache is not None and cache.there else None
        self.notes: tuple[str, ...] = ()

    def publishing(self, mart: Mart, table: Table, version: int) -> Step | None:
        """When a version of a mart, or the first one after it that was published, became visible in the cache."""
        if self._cache is None or mart.serve is None:
            return None
        try:
            times = visible_at(mart.name, created_ms=table.created_ms, cache=self._cache)
        except CacheError as error:
            self._cache, self.notes = None, (f"the cache was asked in vain: {error.found}",)
            return None
        shown = min((other for other in times if other >= version), default=None)
        if shown is None:
            return None
        text = f"published with version {shown} of gold/{mart.name}"
        return Step(stage="cache", at=times[shown], where=f"cache/{mart.name}", text=text, version=shown)
