"""What Bronze's commits of the last minutes say of their rows: how many, how many poison, with unknown fields, or late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dagster_project.contract.model import Catalog
from dagster_project.lake.log import Commit
from dagster_project.lake.table import Table
from dagster_project.metrics.family import Family, Sample

WINDOWS = {"5m": 300.0, "1h": 3600.0}
FATES = ("rows", "poison", "drifted", "late")
RECENT = Family(
    name="lakehouse_recent_rows",
    help="Rows that Bronze's commits of the last 5 or 60 minutes added: all of them; those that are poison; those with a "
    "field that the contract does not know, drifted; those that were late",
    unit="rows",
    labels=("dataset", "fate", "window"),
)
LIMIT = Family(
    name="lakehouse_bad_rate_limit",
    help="Share of a dataset's rows that may be bad, by its contract",
    unit="share",
    labels=("dataset",),
)
FAMILIES = (RECENT, LIMIT)
# Commits that are read at a time while looking back from the newest one.
_STEP = 64


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What one commit says."""

    at: float
    counts: tuple[int, ...]


class Tail:
    """The commits of the longest window, of which each is read once."""

    def __init__(self) -> None:
        self._read: dict[str, dict[int, _Told]] = {}

    def samples(self, catalog: Catalog, tables: Mapping[str, Table], *, now: float) -> Iterator[Sample]:
        """Of each dataset that Bronze has."""
        for dataset in catalog.datasets:
            if (bronze := tables.get(f"bronze/{dataset.name}")) is None:
                continue
            yield LIMIT.of(dataset.max_bad_rate, dataset.name)
            found = self._last(bronze, since=now - max(WINDOWS.values()))
            for window, seconds in WINDOWS.items():
                counts = [told.counts for told in found if told.at > now - seconds]
                for fate, total in zip(FATES, map(sum, zip((0,) * len(FATES), *counts, strict=True)), strict=True):
                    yield RECENT.of(total, dataset.name, fate, window)

    def _last(self, table: Table, *, since: float) -> list[_Told]:
        """What commits since a moment say of their rows, with some before it."""
        known, kept = self._read.get(table.uri, {}), dict[int, _Told]()
        end = table.version + 1
        while end > 0:
            begin = max(0, end - _STEP)
            versions = range(begin, end)
            fresh = [version for version in versions if version not in known]
            try:
                read = {c.version: _told(c) for c in table.commits(fresh[0], fresh[-1])} if fresh else {}
            except FileNotFoundError:  # the log was cleaned up to here
                break
            found = {version: known[version] if version in known else read[version] for version in versions}
            kept |= found
            if any(told.at <= since for told in found.values()):
                break
            end = begin
        self._read[table.uri] = kept
        return list(kept.values())


def _told(commit: Commit) -> _Told:
    """Upkeep adds no rows, and says so by saying nothing."""
    return _Told(at=commit.timestamp_ms / 1000, counts=tuple(int(commit.info.get(fate, 0)) for fate in FATES))
