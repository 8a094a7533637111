"""Kafka lag → one Bronze run for each topic, or for each shard of it.

Reads offsets only; the truth is the cursor in Bronze's own commits.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, NamedTuple

import dagster as dg

from dagster_project.assets.priority import turn_tags
from dagster_project.assets.shards import shard_tags
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.ingest.horizon import located
from dagster_project.ingest.shards import Shard, shards
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.launch import Runs
from dagster_project.slo.yielding import pressed, reason_to_yield, yields_to
from dagster_project.topics.broker import Topic
from dagster_project.topics.survey import survey

# A tick costs little, as it reads offsets and cursors only, and everything downstream waits for it. Under `dagster dev` it is
# five seconds, at which Dagster's own daemon looks; ours looks more often (`launcher/daemon.py`).
INTERVAL_S = 2
_LOOKED_AT_ONCE = 16


def ingest_job_name(dataset: Dataset) -> str:
    return f"ingest_{dataset.name}"


def kafka_lag_sensor(catalog: Catalog, *, jobs: Iterable[Any]) -> dg.SensorDefinition:
    """One request for each shard of a dataset with lag and no run in flight that reads some of its Kafka partitions."""

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
            topics = survey(kafka.broker(), [dataset.topic.name for dataset in catalog.datasets])
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        requests: list[dg.RunRequest] = []
        notes: list[str] = []
        runs = Runs(context.instance)
        now = dt.datetime.now(dt.UTC)
        others = pressed(catalog, storage=lake.storage(), now=now)
        with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:  # side by side, as each waits for the store
            reasons = pool.map(lambda dataset: _reason(dataset, topics[dataset.topic.name], lake), catalog.datasets)
        for dataset, reason in zip(catalog.datasets, reasons, strict=True):
            if not reason.behind:
                notes.append(f"{dataset.name}: {reason.text}")
                continue
            job_name = ingest_job_name(dataset)
            for shard, behind in reason.behind.items():
                name = dataset.name if shard.whole else f"{dataset.name} {shard}"
                if (wait := runs.reason_to_wait(job_name, shard=shard)) is not None:
                    notes.append(f"{name}: {reason.text}, {wait}")
                    continue
                if (wait := reason_to_yield([dataset], others, reason.bronze, now=now)) is not None:
                    notes.append(f"{name}: {reason.text}, {wait}")
                    continue
                context.log.info(f"{name}: {reason.text}")
                tags = {"lakehouse/dataset": dataset.name, "lakehouse/lag": str(behind), **shard_tags(job_name, shard)}
                tags |= turn_tags() if yields_to([dataset], others) else {}
                requests.append(dg.RunRequest(job_name=job_name, tags=tags))
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("; ".join(notes) or "no contracts")

    return kafka_lag


class _Reason(NamedTuple):
    """Why runs are launched, or none.

    Attributes:
        behind: shards to be read, with their lag.
    """

    text: str
    behind: Mapping[Shard, int | str] = MappingProxyType({})
    bronze: Table | None = None


def _reason(dataset: Dataset, topic: Topic | LakehouseError | None, lake: LakeResource) -> _Reason:
    """Lag is a reason; so is a topic or a table that no run can go on with, for a run fails where people look."""
    if isinstance(topic, LakehouseError):
        return _Reason(text=topic.found)  # such as an election: nothing to read, and it passes
    plan = shards(dataset.shards)
    in_trouble = {plan[0]: "unknown"}  # which stops all of them alike, and is told once
    try:
        bronze = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
        cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
        if topic is None:
            text = f"no topic {dataset.topic.name}; run `lakehouse topics apply`"
            return _Reason(text=text, behind={} if cursor is None else in_trouble)
        located(dataset, cursor, topic, storage=lake.storage())
    except LakehouseError as error:
        return _Reason(text=error.found, behind=in_trouble)
    lags = {shard: lag(cursor, shard.topic(topic)) for shard in plan}
    behind = sum(lags.values())
    text = f"lag {behind}" if behind > 0 else "no lag"
    return _Reason(text=text, behind={shard: own for shard, own in lags.items() if own > 0}, bronze=bronze)
