"""Time to loss: whether the broker's retention is about to delete what Bronze has not read."""

import dagster as dg

from dagster_project.contract.model import Dataset
from dagster_project.ingest.horizon import Horizon, horizons
from dagster_project.naming import asset_key
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource

CHECK = "time_to_loss"


def retention_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """The check, to be run by hand from the UI; a sensor reports the same evaluation without a run."""
    asset = asset_key("bronze", dataset.name)

    @dg.asset_check(
        name=CHECK,
        asset=asset,
        description=f"What Bronze has not read of {dataset.topic.name} is far from being deleted by the broker.",
    )
    def time_to_loss(kafka: KafkaResource, lake: LakeResource) -> dg.AssetCheckResult:
        (horizon,) = horizons([dataset], storage=lake.storage(), bootstrap_servers=kafka.bootstrap())
        evaluation = evaluate(horizon)
        return dg.AssetCheckResult(passed=evaluation.passed, severity=evaluation.severity, metadata=evaluation.metadata)

    return time_to_loss


def evaluate(horizon: Horizon) -> dg.AssetCheckEvaluation:
    """A verdict: loss that has happened is an error, loss that comes near or cannot be ruled out a warning."""
    facts = {
        "state": horizon.state,
        "lag": horizon.lag,
        "seconds_to_loss": horizon.seconds,
        "kafka_partition": horizon.partition,
        "first_unread_offset": horizon.offset,
        "retention_seconds": horizon.retention_s,
        "warning_seconds": horizon.warning_s,
        "bounded_by_size_too": horizon.by_size,
        "found": horizon.found or None,
        "to_do": horizon.to_do or None,
    }
    return dg.AssetCheckEvaluation(
        asset_key=asset_key("bronze", horizon.dataset),
        check_name=CHECK,
        passed=horizon.state == "safe",
        severity=dg.AssetCheckSeverity.ERROR if horizon.state == "lost" else dg.AssetCheckSeverity.WARN,
        metadata={name: value for name, value in facts.items() if value is not None},
    )
