"""Check of a Bronze table whose contract names an uneven column: is any key hot that nobody has declared?"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from dagster_project.contract.model import Dataset, HotKeys
from dagster_project.ingest.bronze import Batch
from dagster_project.ingest.hot_keys import KeyCounts

SKEW = "skew"
# One key with more than this keeps one of eight Kafka partitions, a usual number, busier than all the others' mean.
_HOT = 0.1
# Of fewer rows a share says little.
_ROWS = 10_000
# What the metadata names: as little as the counts can still tell apart from nothing.
_NAMED = 0.01


def specs(dataset: Dataset, asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """One check, where the contract names a column."""
    if dataset.hot_keys is None:
        return []
    text = f"No {dataset.hot_keys.column} that the contract does not declare has more than {_HOT:.0%} of a run's rows."
    return [dg.AssetCheckSpec(SKEW, asset=asset, description=text)]


def results(dataset: Dataset, batches: Sequence[Batch], asset: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """Evaluate it on what a run has read; too few rows pass."""
    if dataset.hot_keys is None:
        return []
    keys = sum((batch.keys for batch in batches), KeyCounts())
    shares = keys.shares(above=_HOT)
    undeclared = [key for key in shares if key not in dataset.hot_keys.values] if keys.rows >= _ROWS else []
    return [
        dg.AssetCheckResult(
            check_name=SKEW,
            asset_key=asset,
            passed=not undeclared,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "rows": keys.rows,
                "undeclared": dg.MetadataValue.json(undeclared),
                "hot_keys": hot_keys(dataset.hot_keys, batches),
                "next": "declare them under hotKeys in the contract, and have their producer salt them"
                if undeclared
                else "nothing",
            },
        )
    ]


def hot_keys(contract: HotKeys, batches: Sequence[Batch]) -> dg.TableMetadataValue:
    """The most frequent keys of these batches, with the share of the rows that each has at least."""
    shares = sum((batch.keys for batch in batches), KeyCounts()).shares(above=_NAMED)
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({"key": key, "share": round(share, 4), "declared": key in contract.values})
            for key, share in shares.items()
        ],
        schema=dg.TableSchema(
            columns=[dg.TableColumn("key"), dg.TableColumn("share", "float"), dg.TableColumn("declared", "bool")]
        ),
    )
