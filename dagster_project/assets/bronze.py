"""Bronze assets: one for each topic, and the topic itself upstream of it."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.assets.describe import (
    Outcome,
    common,
    log_partitions,
    report_partitions,
    tag_run,
    with_cost,
)
from dagster_project.assets.partitions import dataset_partitions
from dagster_project.assets.priority import seconds_of
from dagster_project.assets.shards import shard_of
from dagster_project.checks import bronze as checks
from dagster_project.checks import skew
from dagster_project.contract.model import Dataset
from dagster_project.cost.recorder import Recorder
from dagster_project.failure import explained
from dagster_project.ingest.bronze import Batch, ingest
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.naming import asset_key
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.services.registry import registry_of
from dagster_project.settings import Settings
from dagster_project.telemetry.run import run
from dagster_project.topics.broker import Topic

# A run goes on while there is lag, so that launching is not paid for by the batch. The next one reads on some five to ten
# seconds after it has ended: these should be few of all. A contract that has changed in the meantime waits until then.
RUN_SECONDS = 180.0
# How often the UI learns what the run does, which is an event of some 20 ms for each table partition.
TELL_SECONDS = 60.0
# Twice the rows in a backlog are half the commits, and some hundred MB more of memory; there may be sixteen such runs.
GROWTH = 2
# A stream that pauses for less than this keeps its run; the sensor would need as long to notice and launch another.
IDLE_SECONDS = 3.0


def topic_spec(dataset: Dataset) -> dg.AssetSpec:
    """The Kafka topic as an external asset."""
    topic = dataset.topic
    return dg.AssetSpec(
        asset_key("kafka", dataset.name),
        description=f"Kafka topic {topic.name}.",
        group_name=dataset.domain,
        owners=list(dataset.owners),
        kinds={"kafka"},
        metadata={
            "topic": topic.name,
            "partitions": topic.partitions,
            "replication_factor": topic.replication_factor,
            "min_insync_replicas": topic.min_insync_replicas,
            "retention": str(topic.retention),
        },
    )


def bronze_asset(dataset: Dataset, *, uri: str, home: Path) -> dg.AssetsDefinition:
    """Reads the topic, or a shard of it, until it is caught up; a run serves all table partitions that its events fall into."""
    arguments = common(dataset, layer="bronze", uri=uri, kinds={"deltalake", "kafka", "bronze"})
    if dataset.shards > 1:
        arguments["pool"] = None  # one run at a time for each shard, which their tags say

    @dg.asset(
        **arguments,
        description=f"Every message of {dataset.topic.name} as received, with its coordinates and what could be decoded.",
        partitions_def=dataset_partitions(dataset),
        deps=[asset_key("kafka", dataset.name)],
        check_specs=[
            *checks.specs(asset_key("bronze", dataset.name)),
            *skew.specs(dataset, asset_key("bronze", dataset.name)),
        ],
    )
    def bronze(
        context: dg.AssetExecutionContext, kafka: KafkaResource, lake: LakeResource, costs: dg.ResourceParam[Recorder]
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        batches: list[Batch] = []
        rows: Counter[Key] = Counter()
        told = time.monotonic()
        with (
            explained(),
            run(context.run.run_id, asset=f"bronze/{dataset.name}", home=home),
            costs.of(f"bronze/{dataset.name}", dataset.name) as spent,
        ):
            servers, storage, shard = kafka.bootstrap(), lake.storage(), shard_of(context.run)
            for batch in ingest(
                dataset,
                bootstrap_servers=servers,
                storage=storage,
                limits=Limits(growth=GROWTH),
                seconds=seconds_of(context.run, RUN_SECONDS),
                idle=IDLE_SECONDS,
                shard=shard,
                registry=registry_of(dataset, Settings.from_environment()),  # no resource: its URL may hold a password
                warn=context.log.warning,
            ):
                context.log.info(
                    f"batch {batch.batch_id}: {batch.events} events, {batch.poison} poison, version {batch.version}, "
                    f"{', '.join(batch.named)}"
                )
                batches.append(batch)
                spent.events += _messages(batch)
                rows.update(batch.rows)
                if time.monotonic() - told > TELL_SECONDS:
                    table = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
                    log_partitions(
                        context,
                        context.asset_key,
                        Outcome(table=table, touched=rows, metadata={"delta_version": batch.version}),
                    )
                    rows, told = Counter(), time.monotonic()
            table = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
            topic = kafka.broker().topic(dataset.topic.name)
        tag_run(context, [batch.batch_id for batch in batches], [name for batch in batches for name in batch.named])
        outcome = with_cost(_outcome(dataset, table, rows, batches, topic), costs, spent)
        report_partitions(context, outcome)
        yield dg.MaterializeResult(metadata=outcome.metadata)
        yield from checks.results(batches, asset_key("bronze", dataset.name))
        yield from skew.results(dataset, batches, asset_key("bronze", dataset.name))

    return bronze


def _outcome(dataset: Dataset, table: Table | None, rows: Counter[Key], batches: list[Batch], topic: Topic) -> Outcome:
    cursor = None if table is None else Cursor.from_table(table.cursors())
    reasons = sum((Counter(batch.reasons) for batch in batches), Counter[str]())
    return Outcome(
        table=table,
        touched=rows,
        metadata={
            "dagster/row_count": 0 if table is None else int(table.files()["num_records"].sum()),
            "rows_added": sum(map(_messages, batches)),
            "batches": len(batches),
            "poison": sum(batch.poison for batch in batches),
            "poison_reasons": dg.MetadataValue.json(dict(reasons.most_common(10))),
            "tombstones": sum(batch.tombstones for batch in batches),
            "payload_bytes": sum(batch.bytes for batch in batches),
            "kafka_offsets": _offsets(batches),
            "lag": lag(cursor, topic),
            "delta_version": -1 if table is None else table.version,
            "commit_seconds": round(sum(batch.seconds for batch in batches), 3),
            **({} if dataset.hot_keys is None else {"hot_keys": skew.hot_keys(dataset.hot_keys, batches)}),
        },
    )


def _messages(batch: Batch) -> int:
    return batch.events + batch.poison + batch.tombstones


def _offsets(batches: list[Batch]) -> dg.TableMetadataValue:
    first: dict[int, int] = {}
    after: dict[int, int] = {}
    for partition, (begin, end) in (item for batch in batches for item in batch.offsets.items()):
        first.setdefault(partition, begin)
        after[partition] = end
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({"kafka_partition": partition, "from": first[partition], "to": after[partition] - 1})
            for partition in sorted(first)
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "int") for name in ("kafka_partition", "from", "to")]),
    )
