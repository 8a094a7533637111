"""Kafka lag → one Bronze run for each topic. Reads offsets only; the truth is the cursor in Bronze's own commits."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.lake import specs
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.launch import reason_to_wait

# Dagster's daemon looks at sensors every five seconds; asking for less changes nothing.
INTERVAL_S = 5


def ingest_job_name(dataset: Dataset) -> str:
    return f"ingest_{dataset.name}"


def kafka_lag_sensor(catalog: Catalog, *, jobs: Iterable[Any]) -> dg.SensorDefinition:
    """One request for each dataset with lag and no run in flight."""

    @dg.sensor(
        name="kafka_lag",
        description="Launches a Bronze run for each topic that holds events which Bronze does not.",
        jobs=list(jobs),
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def kafka_lag(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            topics = kafka.broker().topics([dataset.topic.name for dataset in catalog.datasets])
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        requests: list[dg.RunRequest] = []
        notes: list[str] = []
        for dataset in catalog.datasets:
            topic = topics.get(dataset.topic.name)
            if topic is None:
                notes.append(f"{dataset.name}: no topic {dataset.topic.name}; run `lakehouse topics apply`")
                continue
            bronze = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
            cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
            behind = lag(cursor, topic)
            if behind <= 0:
                notes.append(f"{dataset.name}: no lag")
                continue
            job_name = ingest_job_name(dataset)
            if (wait := reason_to_wait(context.instance, job_name)) is not None:
                notes.append(f"{dataset.name}: lag {behind}, {wait}")
                continue
            context.log.info(f"{dataset.name}: lag {behind}")
            requests.append(
                dg.RunRequest(job_name=job_name, tags={"lakehouse/dataset": dataset.name, "lakehouse/lag": str(behind)})
            )
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("; ".join(notes) or "no contracts")

    return kafka_lag
