"""The lake, as a Dagster resource."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dagster as dg

from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

# Tables that are opened at once: a store answers in tens of milliseconds, and a tick may look at hundreds of tables.
_OPENED_AT_ONCE = 16


class LakeResource(dg.ConfigurableResource[Storage]):
    """The root of all tables: a local path, or `s3://bucket/prefix` with the standard AWS variables."""

    uri: str

    def storage(self) -> Storage:
        return Storage.at(self.uri)

    def find(self, *specs: TableSpec) -> dict[str, Table | None]:
        """Tables by `layer/name`; `None` where nothing was written yet."""
        names = [f"{spec.layer}/{spec.name}" for spec in specs]
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            return dict(zip(names, pool.map(partial(Table.find, storage=self.storage()), specs), strict=True))
