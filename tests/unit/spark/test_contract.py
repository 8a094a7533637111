"""`engine: spark` in a contract: what cannot be run there is said when the contract is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.spark_sql import to_spark
from dagster_project.errors import ContractError
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

SPARK = MART.replace("{property: inputs,", "{property: engine, value: spark}\n      - {property: inputs,")


def load(folder: Path, *, mart: str = SPARK, sql: str = SQL) -> str:
    files = {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": mart, "levels.sql": sql}
    return load_catalog(write_project(folder, files)).marts[0].engine


def test_the_engine_is_local_unless_the_contract_says_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path / "a", mart=MART) == "local"
    assert load(tmp_path / "b") == "spark"
    with pytest.raises(ContractError, match="engine 'flink'") as caught:
        load(tmp_path / "c", mart=SPARK.replace("value: spark", "value: flink"))
    assert "local or spark" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("hash(id) AS total", r"calls .*: HASH"),
        ("approx_count_distinct(id) AS total", r"calls .*: APPROX_COUNT_DISTINCT"),
        ("any_value(level) AS total", r"engines do differently: ANY_VALUE"),
        ("first(level) AS total", r"takes any value"),
        ("last(level ORDER BY at DESC) AS total", r"descending order"),
        ("sum(level ORDER BY at) AS total", r"orders the rows of an aggregate"),
        ("max(CAST(id AS INTEGER)) AS total", r"makes another type .*AS INT"),
        ("length(max(CAST(at AS VARCHAR))) AS total", r"makes another type .*AS TEXT"),
        ("max(upper(id)) IS NULL AS total", r"calls .*: UPPER"),
        ("max(left(id, -1)) IS NULL AS total", r"another number of characters"),
        ("max(level) // 0.5 AS total", r"divides what is no integer"),
        ("max(id LIKE 'a\\_%') AS total", r"no plain text"),
        ("max(at AT TIME ZONE 'Asia/Tokyo') AS total", r"AT TIME ZONE"),
        ("length(max(concat(id, at))) AS total", r"writes a value into a string"),
        ("length(max(id || at)) AS total", r"writes a value into a string"),
        ("length(max(format('{:.2f}', level))) AS total", r"has a format beyond"),
        ("quantile_cont(CAST(level AS DECIMAL(9, 2)), 0.5) AS total", r"quantile of what is no integer"),
        ("max(nothing) AS total", r"nothing"),
    ],
)
def test_what_is_not_known_to_mean_the_same_is_refused_and_named(tmp_path: Path, column: str, told: str) -> None:
    sql = f"SELECT event_date, region, count(*) AS readings, {column} FROM silver.readings GROUP BY ALL"
    with pytest.raises(ContractError, match=told) as caught:
        load(tmp_path / "spark", sql=sql)
    assert "mart levels: engine: spark" in str(caught.value)
    assert load(tmp_path / "local", mart=MART, sql=sql) == "local"


@pytest.mark.parametrize("clause", ["LIMIT 1", "QUALIFY row_number() OVER (ORDER BY random()) = 1"])
def test_rows_are_not_chosen_by_chance(tmp_path: Path, clause: str) -> None:
    sql = f"SELECT event_date, region, 1 AS readings, level AS total FROM silver.readings {clause}"
    with pytest.raises(ContractError, match=r"LIMIT 1|RAND"):
        load(tmp_path, sql=sql)


def test_every_mart_of_the_project_can_be_given_to_spark() -> None:
    catalog = load_catalog(REPOSITORY / "contracts")
    for mart in catalog.marts:
        assert "silver." not in to_spark(mart, catalog), mart.name


def test_the_pinned_versions_agree() -> None:
    pinned = "pyspark==4.2.0"
    for place in ("pyproject.toml", "deploy/spark/requirements.in", "deploy/spark/requirements.lock"):
        assert pinned in (REPOSITORY / place).read_text(encoding="utf-8"), place
