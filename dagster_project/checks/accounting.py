"""The check of the one rule: every offset below the cursor has exactly one place."""

import dagster as dg

from dagster_project.accounting.account import account
from dagster_project.accounting.tiles import PLACES
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.naming import asset_key
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource

# In the metadata, where nothing could be accounted for: the kind of error.
ERROR = "error"
NAME = "every_offset_accounted_for"
_COUNTS = ("offsets", *PLACES, "letters_pending")


def accounting_check(dataset: Dataset, *, catalog: Catalog) -> dg.AssetChecksDefinition:
    """Accounts for a dataset's offsets from the tables and the broker, as `lakehouse verify` does."""

    @dg.asset_check(
        # Of two versions, the older one's account is Bronze's; the newer one's is that of its own table.
        asset=asset_key("bronze", dataset.name)
        if dataset not in catalog.successors
        else asset_key("silver", dataset.table),
        name=NAME,
        description="Each offset is a Silver row, superseded, quarantined, a tombstone, a gap, or declared lost.",
    )
    def every_offset_accounted_for(kafka: KafkaResource, lake: LakeResource) -> dg.AssetCheckResult:
        # Red, with the reason, rather than a run that failed: loss and damage are what the check is there to say.
        try:
            found = account(
                dataset,
                catalog=catalog,
                storage=lake.storage(),
                topic=lambda: kafka.broker().topic(dataset.topic.name),
                bootstrap_servers=kafka.bootstrap(),
            )
        except LakehouseError as error:
            return dg.AssetCheckResult(passed=False, metadata={"problems": str(error), ERROR: type(error).__name__})
        metadata: dict[str, int | str] = {name: getattr(found, name) for name in _COUNTS}
        return dg.AssetCheckResult(
            passed=found.accounted, metadata={**metadata, "problems": "\n".join(found.problems) or "none"}
        )

    return every_offset_accounted_for
