"""The lake, as a Dagster resource."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import dagster as dg
from pydantic import PrivateAttr

from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

# Tables that are opened at once: a store answers in tens of milliseconds, and a tick may look at hundreds of tables.
_OPENED_AT_ONCE = 16


class LakeResource(dg.ConfigurableResource[Storage]):
    """The root of all tables: a local path, or `s3://bucket/prefix` with the standard AWS variables."""

    uri: str
    _run_id: str = PrivateAttr(default="")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._run_id = "" if context.run is None else context.run.run_id  # a sensor has none

    def storage(self) -> Storage:
        return replace(Storage.at(self.uri), run_id=self._run_id)

    def find(self, *specs: TableSpec) -> dict[str, Table | None]:
        """Tables by `layer/name`; `None` where nothing was written yet."""
        names = [f"{spec.layer}/{spec.name}" for spec in specs]
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            return dict(zip(names, pool.map(partial(Table.find, storage=self.storage()), specs), strict=True))
