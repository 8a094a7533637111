"""The lake, as a Dagster resource."""

from __future__ import annotations

import dagster as dg

from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec


class LakeResource(dg.ConfigurableResource[Storage]):
    """The root of all tables: a local path, or `s3://bucket/prefix` with the standard AWS variables."""

    uri: str

    def storage(self) -> Storage:
        return Storage.at(self.uri)

    def find(self, *specs: TableSpec) -> dict[str, Table | None]:
        """Tables by `layer/name`; `None` where nothing was written yet."""
        storage = self.storage()
        return {f"{spec.layer}/{spec.name}": Table.find(spec, storage=storage) for spec in specs}
