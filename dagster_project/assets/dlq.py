"""Dead-letter queues: one asset for each, downstream of Bronze, which holds the poison."""

from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.assets.describe import RETRIES, cost
from dagster_project.contract.model import Dataset
from dagster_project.cost.recorder import Recorder
from dagster_project.failure import explained
from dagster_project.naming import asset_key
from dagster_project.outbox.publish import publish
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.telemetry.run import run
from dagster_project.topics.derived import dead_letters


def publish_job_name(dataset: Dataset) -> str:
    return f"publish_dlq_{dataset.name}"


def dlq_asset(dataset: Dataset, *, home: Path) -> dg.AssetsDefinition:
    """Publishes Bronze's poison to the queue, exactly once."""
    topic = dead_letters(dataset)

    @dg.asset(
        key=asset_key("dlq", dataset.name),
        description=f"Kafka topic {topic.name}: messages of {dataset.topic.name} that could not be decoded, and why.",
        group_name=dataset.domain,
        owners=list(dataset.owners),
        kinds={"kafka"},
        code_version=dataset.version,
        deps=[asset_key("bronze", dataset.name)],
        retry_policy=RETRIES,
        # One publisher at a time: correctness does not depend on it, for a second one shuts out the first.
        pool=f"dlq_{dataset.name}",
        metadata={"topic": topic.name, "partitions": topic.partitions, "retention": str(topic.retention)},
    )
    def dlq(
        context: dg.AssetExecutionContext, kafka: KafkaResource, lake: LakeResource, costs: dg.ResourceParam[Recorder]
    ) -> dg.MaterializeResult[Any]:
        with (
            explained(),
            run(context.run.run_id, asset=f"dlq/{dataset.name}", home=home),
            costs.of(f"dlq/{dataset.name}", dataset.name) as spent,
        ):
            done = publish(
                dataset,
                storage=lake.storage(),
                bootstrap_servers=kafka.bootstrap(),
                report=lambda letters: context.log.info(f"{letters} letters sent"),
            )
            spent.events += done.letters
        return dg.MaterializeResult(
            metadata={
                "letters_published": done.letters,
                "cursor": done.cursor,
                "reasons": dg.MetadataValue.json(done.reasons),
                **cost(costs, spent),
            }
        )

    return dlq
