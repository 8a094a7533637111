"""A Spark session that stays: each line is the URI of an order, each answer `done` or what went wrong.

Run by the Python that has PySpark. To start a session takes seven seconds, which a suite of a hundred jobs need not.
"""
# pyright: reportMissingImports=false
# PySpark is in an environment of its own.

import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dagster_project" / "spark"))
import job  # pyright: ignore[reportImplicitRelativeImport]

_SETTINGS = {
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # small jobs end before more would pay
    "spark.sql.shuffle.partitions": "2",
    "spark.log.level": "ERROR",
}


def main() -> None:
    builder = SparkSession.builder.master("local[2]").config(map=_SETTINGS)
    spark = builder.config("spark.sql.warehouse.dir", sys.argv[1]).config("spark.local.dir", sys.argv[1]).getOrCreate()
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "sql" in asked:
                for name, value in job.SETTINGS.items():
                    spark.conf.set(name, value)
                spark.read.parquet(asked["table"]).createOrReplaceTempView("silver__t")
                spark.sql(asked["sql"]).coalesce(1).write.parquet(asked["answer"])
                answer = {"done": 0}
            else:
                answer = {"done": job.carry_out(spark, job.read_order(spark, asked["order"]))["seconds"]}
        except Exception:  # noqa: BLE001 whatever it is, whoever asked is to be told
            answer = {"failed": traceback.format_exc()}
        _say(answer)


def _say(answer: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
