"""Checks of a Bronze table that its own run evaluates, on what it has just read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from dagster_project.ingest.bronze import Batch

DRIFT = "no_unknown_fields"
_NAMED = 20  # fields in the metadata: more are told by their number


def specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """What every Bronze run is checked for."""
    return [
        dg.AssetCheckSpec(
            DRIFT,
            asset=asset,
            description="No message has a field that the contract does not know; such fields are kept in `_rescued`.",
        )
    ]


def results(batches: Sequence[Batch], asset: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """Evaluate the checks on these batches."""
    unknown = sum((Counter(batch.unknown) for batch in batches), Counter[str]())
    events, drifted = sum(batch.events for batch in batches), sum(batch.drifted for batch in batches)
    return [
        dg.AssetCheckResult(
            check_name=DRIFT,
            asset_key=asset,
            passed=not drifted,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "events": events,
                "events_with_unknown_fields": drifted,
                "share": drifted / events if events else 0.0,
                "unknown_fields": len(unknown),
                "rows_by_field": dg.MetadataValue.json(dict(unknown.most_common(_NAMED))),
                "next": "add them to the contract if they are meant" if drifted else "nothing",
            },
        )
    ]
