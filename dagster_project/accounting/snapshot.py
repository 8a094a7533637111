"""The tables of a dataset as they were at one moment, however busy others are with them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from dagster_project.accounting.soundness import Evidence, examine
from dagster_project.contract.model import Dataset
from dagster_project.errors import LakehouseError
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED
from dagster_project.refine.plan import expired_unseen, progress


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
        expired = -1
        with suppress(LakehouseError):  # what is wrong with it is found below
            expired = _expired(Table.find(specs.bronze(dataset), storage=storage))
        while True:
            ledger, silver, quarantine, bronze = (
                examine(spec(dataset), storage=storage, thorough=thorough) for spec in kinds
            )
            # But the ledger has what expires before Bronze is without it: where that happened meanwhile, look again.
            before, expired = expired, _expired(bronze.table)
            if bronze.table is None or expired == before:
                break
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
        if self.bronze.table is not None and (gone := expired_unseen(self.bronze.table, progress(self.silver.table))):
            name = self.silver.table.spec.name if self.silver.table is not None else self.bronze.table.spec.name
            found.append(
                f"silver/{name} has not read {len(gone)} table partitions that have expired in Bronze, the first {gone[0]}"
            )
        return found


def _expired(bronze: Table | None) -> int:
    """How many rows of Bronze the retention has deleted."""
    return 0 if bronze is None else bronze.cursors().get(EXPIRED, 0)
