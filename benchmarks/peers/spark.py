"""Spark Structured Streaming with Delta Lake: Kafka to Bronze, Bronze to Silver by MERGE, then Gold.

Two streams that end when the topic is drained (trigger availableNow), as Delta's guide lays out Bronze and Silver. Tuned as
the projects' own guides say:

* Spark SQL performance tuning: `spark.sql.shuffle.partitions` as many as there are cores, not 200; adaptive execution.
* Spark tuning guide: Kryo; a collector for throughput, as two cores leave none for a concurrent one; no UI.
* Kafka integration guide: `maxOffsetsPerTrigger` so large that a batch's fixed costs are nothing, and yet bounded;
  `kafka.isolation.level`, which a transactional topic needs.
* Delta's MERGE guide: the source deduplicated and cached, the partition column in the condition, few partitions.

Before `ready` one event goes all the way through tables of its own: loading classes and compiling queries for the first time
is a start, too, and a start is measured for nobody.
"""
# pyright: reportMissingImports=false, reportUnknownParameterType=false
# PySpark is in the peers' own virtual environment, not in the project's.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from benchmarks.peers.protocol import Drain, Task, serve
from benchmarks.peers.spark_sql import AGE, AN_EVENT, COORDINATES, EVENT, GOLD, IS_SOUND, MERGE, PARSED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming import DataStreamWriter

_JARS = Path(__file__).resolve().parent / "spark" / "target" / "libs"
_CORES = 2
_SETTINGS = {
    "spark.driver.memory": "4g",
    "spark.driver.extraClassPath": str(_JARS / "*"),
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": str(_CORES),
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # what other readers know; the default is deprecated
    "spark.databricks.delta.snapshotPartitions": str(_CORES),
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# Bounds what one batch holds; a few batches make a backlog of ten million, so that their fixed costs are nothing.
_MESSAGES_OF_A_BATCH = 2_000_000


class Lake:
    """Bronze, Silver and Gold in one folder."""

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self._spark = spark
        self._root = root
        spark.sql(
            f"CREATE TABLE delta.`{root}/silver` ({EVENT}, event_date DATE, kafka_partition INT, kafka_offset BIGINT)"
            " USING delta PARTITIONED BY (event_date)"
        )

    def append(self, messages: DataFrame) -> None:
        """Bronze: each message as received, its columns, what of it did not parse, and whether it keeps the contract."""
        self._run(_parse(messages).writeStream.format("delta").option("path", f"{self._root}/bronze"), "bronze")

    def refine(self) -> None:
        """Silver, from what is new in Bronze."""
        bronze = self._spark.readStream.format("delta").load(f"{self._root}/bronze")
        self._run(bronze.writeStream.foreachBatch(self._merge), "silver")

    def publish(self) -> None:
        """Gold."""
        gold = self._spark.sql(GOLD.format(silver=f"{self._root}/silver"))
        gold.coalesce(1).write.format("delta").mode("overwrite").save(f"{self._root}/gold")

    def rows(self, name: str) -> int:
        """Answered from the table's statistics."""
        return self._spark.read.format("delta").load(f"{self._root}/{name}").count()

    def _merge(self, batch: DataFrame, number: int) -> None:
        bad = batch.where("NOT _is_sound").select("kafka_partition", "kafka_offset", "value", "_corrupt")
        # A batch that is repeated after a crash adds nothing: Delta knows its number.
        writer = bad.write.format("delta").option("txnAppId", "bad").option("txnVersion", number)
        writer.mode("append").save(f"{self._root}/bad")
        sound = batch.where("_is_sound").selectExpr("*", f"{AGE} AS _age").where("_age = 1")
        newest = sound.drop("key", "value", "kafka_timestamp", "_corrupt", "_is_sound", "_age").persist()
        newest.createOrReplaceTempView("newest")
        newest.sparkSession.sql(MERGE.format(silver=f"{self._root}/silver"))
        newest.unpersist()

    def _run(self, writer: DataStreamWriter, name: str) -> None:
        writer = writer.option("checkpointLocation", f"{self._root}/work/{name}")
        writer.trigger(availableNow=True).start().awaitTermination()


def prepare(task: Task) -> Drain:
    work = str(task.out / "work")
    builder = SparkSession.builder.master(f"local[{_CORES}]").config(map=_SETTINGS)
    spark = builder.config("spark.local.dir", work).config("spark.sql.warehouse.dir", work).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    _warm_up(spark, task.out / "work" / "warm-up")
    lake = Lake(spark, task.out)

    def drain() -> dict[str, int]:
        lake.append(
            spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", task.servers)
            .option("kafka.isolation.level", "read_committed")
            .option("subscribe", task.topic)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", _MESSAGES_OF_A_BATCH)
            .load()
        )
        lake.refine()
        lake.publish()
        return {f"rows_{name}": lake.rows(name) for name in ("bronze", "bad", "silver", "gold")}

    return drain


def _parse(messages: DataFrame) -> DataFrame:
    parsed = messages.selectExpr(*COORDINATES, "key", "value", f"{PARSED} AS event")
    rows = parsed.selectExpr("kafka_partition", "kafka_offset", "kafka_timestamp", "key", "value", "event.*")
    return rows.selectExpr("*", "CAST(ordered_at AS DATE) AS event_date", f"{IS_SOUND} AS _is_sound")


def _warm_up(spark: SparkSession, root: Path) -> None:
    """Let one event go all the way, so that no class is loaded and no query compiled for the first time later on."""
    lake = Lake(spark, root)
    kafka = "0 AS partition, id AS offset, current_timestamp() AS timestamp, CAST('' AS BINARY) AS key"
    message = spark.range(1).selectExpr(*kafka.split(", "), f"CAST('{AN_EVENT}' AS BINARY) AS value")
    message.write.format("delta").save(f"{root}/topic")
    lake.append(spark.readStream.format("delta").load(f"{root}/topic"))
    lake.refine()
    lake.publish()
    assert [lake.rows(name) for name in ("bronze", "bad", "silver", "gold")] == [1, 0, 1, 1]


if __name__ == "__main__":
    serve(prepare)
