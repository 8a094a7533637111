"""Poison in Bronze → one run for each dead-letter queue that does not have all of it; the truth is the outbox's cursor."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from dagster_project.assets.dlq import publish_job_name
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.outbox.cursor import NOTHING, cursors, key
from dagster_project.outbox.publish import pending
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.launch import Runs

# Each run is a launch, of some two seconds of CPU, and a stream that has poison has it all the time. People read it.
INTERVAL_S = 30


def outbox_sensor(catalog: Catalog, *, jobs: Iterable[Any]) -> dg.SensorDefinition:
    """Requests for queues that lack poison. Its own cursor is a hint of what they have; losing it costs one look at Kafka."""

    @dg.sensor(
        name="outbox",
        description="Publishes messages that could not be decoded to the dead-letter queues of their topics.",
        jobs=list(jobs),
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def outbox(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource
    ) -> dg.SensorResult | dg.SkipReason:
        hints: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        tables = lake.find(*map(specs.bronze, catalog.datasets))
        notes: list[str] = []
        runs = Runs(context.instance)
        waiting: dict[str, tuple[Dataset, Table]] = {}
        for name, dataset, bronze in _unpublished(catalog, tables, hints):
            if (wait := runs.reason_to_wait(publish_job_name(dataset))) is not None:
                notes.append(wait)
                continue
            waiting[name] = (dataset, bronze)
        if not waiting:
            return dg.SkipReason("; ".join(notes) or "everything is published")
        requests: list[dg.RunRequest] = []
        try:
            known = cursors(bootstrap_servers=kafka.bootstrap(), settled=False)
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        for name, (dataset, bronze) in waiting.items():
            published = known.get(name, NOTHING)
            try:
                files = pending(dataset, bronze, published)
            except LakehouseError as error:
                notes.append(str(error))
                continue
            hints[name] = published
            if not files.is_empty():
                requests.append(dg.RunRequest(job_name=publish_job_name(dataset)))
        cursor = json.dumps(hints)
        reason = None if requests else "; ".join(notes) or "everything is published"
        return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=cursor)

    return outbox


def _unpublished(
    catalog: Catalog, tables: Mapping[str, Table | None], hints: Mapping[str, int]
) -> Iterator[tuple[str, Dataset, Table]]:
    """Cursor's name, dataset and Bronze where there is poison that the hints do not cover."""
    for dataset in catalog.datasets:
        bronze = tables[f"bronze/{dataset.name}"]
        read = None if bronze is None else Cursor.from_table(bronze.cursors())
        if bronze is not None and read is not None:
            name = key(dataset, read.topic_id)
            hint = hints.get(name, NOTHING)
            # A hint ahead of the table is of another state of it: then Kafka is asked.
            if not pending(dataset, bronze, hint if hint <= read.batch_id else NOTHING).is_empty():
                yield name, dataset, bronze
