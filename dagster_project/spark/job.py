"""What runs on the cluster: it carries out one order, and knows nothing of the platform but that.

Needs PySpark, and dagster-pipes, which is one file: so these two are all that EMR, Glue or any other Spark has to be given, and
the run in Dagster sees what the job logs and reports. An order is a JSON document; what was done is another one,
`manifest`, beside the files. Nothing that it writes is part of a table before the platform has committed it.
"""
# pyright: reportMissingImports=false, reportUnknownParameterType=false, reportUnknownArgumentType=false
# PySpark is the cluster's, not the project's.

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import dagster_pipes
from pyspark.errors import AnalysisException, ArithmeticException, NumberFormatException, ParseException
from pyspark.sql import SparkSession, types
from pyspark.sql import functions as F  # noqa: N812 the name that everybody knows it by

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyspark.sql import DataFrame

# Set for each session, whatever the cluster's own defaults are: results must not depend on them.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # a value that does not fit is an error, as in DuckDB, not null
    "spark.sql.caseSensitive": "true",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",  # what does not fit is an error, not a shorter number
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.skewJoin.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default is one that other readers do not know
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.sources.partitionOverwriteMode": "static",
}
# As the platform's own files.
_FILE_ROWS = 500_000
# A job that takes an hour fills no screen.
_TELL_S = 10
_REFUSED = (AnalysisException, ArithmeticException, NumberFormatException, ParseException)
_ILLEGAL = frozenset(' "%<>[]\\^`{|}?#')
_PATH, _VALUES = "_file_path", "_file_values"


def main(uri: str) -> None:
    with _pipes() as pipes, SparkSession.builder.getOrCreate() as spark:
        pipes.log.info(f"{spark.sparkContext.applicationId} on {spark.sparkContext.master}, Spark {spark.version}")
        with _progress(spark, pipes.log.info):
            manifest = carry_out(spark, read_order(spark, uri), log=pipes.log.info)
        told = {
            "application": spark.sparkContext.applicationId,
            "version": spark.version,
            "files": len(manifest["files"]),
        }
        pipes.report_custom_message(told | {name: manifest[name] for name in ("rows", "seconds")})


def read_order(spark: SparkSession, uri: str) -> dict[str, Any]:
    return json.loads(spark.read.text(uri, wholetext=True).first()[0])


def carry_out(spark: SparkSession, order: dict[str, Any], log: Any = lambda _: None) -> dict[str, Any]:
    """Do what an order says, and leave a manifest of it; what its SQL does wrong is in there, all else is raised."""
    began = time.monotonic()
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    log(f"{order['name']}: {order['read_files']} files to read")
    files: list[dict[str, Any]] = []
    refused = None
    try:
        for number, group in enumerate(order["groups"]):
            made = _compute(spark, order, group)
            files += _write(spark, order, made, f"{order['output']}/{number}")
            log(f"{order['name']}: {number + 1} of {len(order['groups'])} groups are computed")
    except _REFUSED as error:
        refused = str(error).partition("\n")[0]  # below it is the query's plan
    manifest = {
        "refused": refused,
        "files": files,
        "rows": sum(file["rows"] for file in files),
        "seconds": round(time.monotonic() - began, 3),
    }
    spark.createDataFrame([(json.dumps(manifest),)], "value STRING").coalesce(1).write.text(
        f"{order['output']}/manifest"
    )
    return manifest


def _compute(spark: SparkSession, order: dict[str, Any], group: dict[str, Any]) -> DataFrame:
    """The rows of one group, in the columns and types of the table."""
    for name, view in group["views"].items():
        _view(spark, order["views"][name], view).createOrReplaceTempView(name)
    rows = spark.sql(order["sql"])
    wanted = [name for name, _ in order["columns"]]
    if sorted(rows.columns) != sorted(wanted):
        raise AnalysisException(f"yields {', '.join(rows.columns)}, not {', '.join(wanted)}")
    rows = rows.select(*(F.col(f"`{name}`").cast(kind).alias(name) for name, kind in order["columns"]))
    return rows if group["where"] is None else rows.where(group["where"])


def _view(spark: SparkSession, view: dict[str, Any], files: list[list[Any]]) -> DataFrame:
    """Rows of exactly the files that the order names, with the values of the table partition that each is of."""
    if view["rows"]:
        return spark.sql(f"SELECT {view['rows']}")
    rows = _read(spark, view, files)
    return rows.where(view["where"]).selectExpr(*view["select"])


def _read(spark: SparkSession, view: dict[str, Any], files: list[list[Any]]) -> DataFrame:
    schema, keys = view["schema"], view["partition_by"]
    if not files:
        return spark.createDataFrame([], ", ".join(filter(None, [schema, *(f"`{n}` {kind}" for n, kind in keys)])))
    rows = spark.read.schema(schema).parquet(*(file[0] for file in files))
    if not keys:
        return rows
    # Told by the platform, not read off the path, as a table may have files of several layouts. By the end of the path: Spark gives
    # the files of one task the same name in each table partition.
    length = len(keys) + 1
    told = {spelled: values for uri, *values in files for spelled in _spellings("/".join(uri.split("/")[-length:]))}
    fields = [types.StructField(name, types.StringType()) for name in (_PATH, *(name for name, _ in keys))]
    values = F.struct(*(F.col(f"`{name}`").cast(kind).alias(name) for name, kind in keys)).alias(_VALUES)
    places = spark.createDataFrame([(path, *own) for path, own in told.items()], types.StructType(fields))
    end = F.substring_index("_metadata.file_path", "/", -length)
    joined = rows.withColumn(_PATH, end).join(F.broadcast(places.select(_PATH, values)), _PATH, "left")
    # No row is lost for the spelling of a path: that is an error.
    known = F.expr(f"if({_VALUES} IS NULL, raise_error(concat('not in the order: ', {_PATH})), {_VALUES})").alias(
        _VALUES
    )
    return joined.select(*(f"`{name}`" for name in rows.columns), known).select(
        *(f"`{name}`" for name in rows.columns), f"{_VALUES}.*"
    )


def _spellings(path: str) -> set[str]:
    """As it is, and as URIs have it: with what they may not have escaped, or all but ASCII as well."""
    escaped = "".join(f"%{ord(sign):02X}" if sign in _ILLEGAL else sign for sign in path)
    return {path, escaped, quote(path, safe="/=:+&,()@!'~$;*")}


def _write(spark: SparkSession, order: dict[str, Any], rows: DataFrame, output: str) -> list[dict[str, Any]]:
    """Write rows by table partition, each in the order of the key, and describe the files."""
    keys = order["partition_by"]
    rows.createOrReplaceTempView("_made")
    # Small table partitions share a task, and a large one is split over several: what one key has too much of, no one task has.
    hint = f"REBALANCE({', '.join(f'`{name}`' for name in keys)})" if keys else "REBALANCE"
    placed = spark.sql(f"SELECT /*+ {hint} */ * FROM _made").sortWithinPartitions(*order["sort"])
    writer = placed.write.option("maxRecordsPerFile", _FILE_ROWS).option(
        "mapreduce.fileoutputcommitter.marksuccessfuljobs", "false"
    )
    (writer.partitionBy(*keys) if keys else writer).parquet(output)
    return _described(spark, order, rows.schema, output)


def _described(
    spark: SparkSession, order: dict[str, Any], schema: types.StructType, output: str
) -> list[dict[str, Any]]:
    """What was written, as it is found in the store."""
    keys = order["partition_by"]
    written = spark.read.schema(schema).option("basePath", output).parquet(output)
    place = (F.col("_metadata.file_path").alias("path"), F.col("_metadata.file_size").alias("size"))
    root = output.rpartition("/")[2]
    return [
        {
            "path": f"{root}/" + unquote(row["path"]).partition(f"/{order['staged']}/{root}/")[2],
            "size": row["size"],
            "rows": row["count"],
            "values": {name: None if row[name] is None else str(row[name]) for name in keys},
        }
        for row in written.groupBy(*place, *keys).count().collect()
    ]


def _pipes() -> Any:
    """The run in Dagster that has launched this job."""
    here, glue = dagster_pipes.PipesEnvVarParamsLoader(), dagster_pipes.PipesCliArgsParamsLoader()
    loader = glue if glue.is_dagster_pipes_process() else here
    # EMR writes a cluster's output to S3 minutes later, so there the job does it itself.
    told_by_s3 = loader.is_dagster_pipes_process() and "bucket" in loader.load_messages_params()
    return dagster_pipes.open_dagster_pipes(params_loader=loader, message_writer=_s3() if told_by_s3 else None)


def _s3() -> dagster_pipes.PipesS3MessageWriter:
    import boto3  # noqa: PLC0415 EMR's clusters have it, others need not

    return dagster_pipes.PipesS3MessageWriter(boto3.client("s3"))


@contextmanager
def _progress(spark: SparkSession, log: Any) -> Generator[None]:
    """Tell how many tasks of the stages at work are done, now and then."""
    tracker, done = spark.sparkContext.statusTracker(), Event()

    def tell() -> None:
        while not done.wait(_TELL_S):
            for stage in map(tracker.getStageInfo, tracker.getActiveStageIds()):
                if stage is not None:
                    log(f"stage {stage.stageId}: {stage.numCompletedTasks} of {stage.numTasks} tasks are done")

    teller = Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--order") + 1])
