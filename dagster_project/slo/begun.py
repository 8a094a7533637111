"""When a dataset began: at the commit of its first Bronze batch, looked up once and kept with the measurements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from dagster_project.contract.model import Dataset
from dagster_project.ingest.cursor import BATCH, Cursor
from dagster_project.lake.table import Table


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A dataset that is in use.

    Attributes:
        name: of the cursor that remembers it in the table of measurements; of a topic that is made anew it is another one.
        since_ms: when its first batch was committed, since the epoch.
    """

    name: str
    since_ms: int

    @property
    def since(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.since_ms / 1000, dt.UTC)


def begun(dataset: Dataset, bronze: Table | None, *, known: Mapping[str, int]) -> Begun | None:
    """Since when a dataset has been in use; `None` before its first batch.

    Args:
        known: cursors of the table of measurements.

    Raises:
        TopicIdentityError: the table holds cursors of more than one topic.
    """
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    if bronze is None or cursor is None:
        return None
    name = f"begun/{dataset.name}/{cursor.topic_id}"
    return Begun(name=name, since_ms=known[name] if name in known else _first_batch_ms(bronze))


def _first_batch_ms(bronze: Table) -> int:
    """When the first batch was committed; where the log goes back no further, its oldest commit, a month or so later."""
    first = bronze.first_commit()
    return next(one.timestamp_ms for one in bronze.commits(first) if first > 0 or BATCH in one.cursors)
