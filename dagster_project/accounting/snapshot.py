"""The tables of a dataset as they were at one moment, however busy others are with them."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_project.accounting.soundness import Evidence, examine
from dagster_project.contract.model import Dataset
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.refine.plan import progress


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Each table at one version of its own; `cursor` is that of this version of Bronze, `None` before its first batch."""

    ledger: Evidence
    silver: Evidence
    quarantine: Evidence
    bronze: Evidence
    cursor: Cursor | None

    @classmethod
    def take(cls, dataset: Dataset, *, storage: Storage, thorough: bool) -> Snapshot:
        """Read the tables' logs, each once; `thorough` as of `examine`."""
        # What is computed before what it is computed from: what a run adds meanwhile is then pending, not a row that came
        # from nowhere. Silver before quarantine, which is committed first.
        kinds = (specs.ledger, specs.silver, specs.quarantine, specs.bronze)
        ledger, silver, quarantine, bronze = (
            examine(spec(dataset), storage=storage, thorough=thorough) for spec in kinds
        )
        cursor = None if bronze.table is None else Cursor.from_table(bronze.table.cursors())
        return cls(ledger=ledger, silver=silver, quarantine=quarantine, bronze=bronze, cursor=cursor)

    def problems(self) -> list[str]:
        """What is missing of the tables, and tables that were computed from more than there is of Bronze."""
        found = [text for item in (self.bronze, self.silver, self.quarantine, self.ledger) for text in item.problems]
        last = -1 if self.cursor is None else self.cursor.batch_id
        for table in (self.silver.table, self.quarantine.table):
            newest = max(progress(table).values(), default=-1)
            if table is not None and newest > last:
                name = f"{table.spec.layer}/{table.spec.name}"
                found.append(f"{name} was computed from batch {newest} of Bronze, which ends at batch {last}")
        return found
