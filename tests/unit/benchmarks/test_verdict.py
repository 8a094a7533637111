"""The verdict finds what is wrong with tables, and nothing with those that are right."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from benchmarks import oracle
from benchmarks.verdict import judge
from benchmarks.workload import Workload

Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(Workload(events=3_000), tmp_path_factory.mktemp("oracle") / "oracle")


def written(workload: Workload, folder: Path) -> Path:
    found = oracle.Oracle(folder)
    for chunk in workload.chunks():
        found.add(chunk)
    found.close()
    return folder


def same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def tables(folder: Path, expected: Path, *, silver: Change = same, gold: Change = same, bronze: int = 3_000) -> Path:
    """Delta tables as the oracle wants them, but for a change."""
    pl.DataFrame({"payload": ["{}"] * bronze}).write_delta(folder / "bronze")
    silver(pl.read_parquet(expected / "silver.parquet")).write_delta(folder / "silver")
    gold(pl.read_parquet(expected / "gold.parquet")).write_delta(folder / "gold")
    return folder


def second(frame: pl.DataFrame, **values: object) -> pl.DataFrame:
    """The frame with another second row."""
    chosen = pl.int_range(pl.len()) == 1
    return frame.with_columns(
        pl.when(chosen).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


def test_nothing_is_wrong_with_the_right_tables(tmp_path: Path, expected: Path) -> None:
    assert judge(tables(tmp_path, expected), [expected]) == []


def test_order_of_rows_and_columns_width_of_types_and_further_columns_do_not_matter(
    tmp_path: Path, expected: Path
) -> None:
    found = tables(
        tmp_path,
        expected,
        silver=lambda rows: rows.reverse().select(pl.lit(1).alias("_batch"), *reversed(rows.columns)),
        gold=lambda rows: rows.with_columns(pl.col("orders").cast(pl.Int32)),
    )
    assert judge(found, [expected]) == []


def test_an_altered_value_is_named(tmp_path: Path, expected: Path) -> None:
    row = pl.read_parquet(expected / "silver.parquet").row(1, named=True)
    found = tables(tmp_path, expected, silver=lambda rows: second(rows, amount=Decimal("0.01")))
    assert judge(found, [expected]) == [f"silver: 1 rows altered: {row['order_id']}: amount 0.01, not {row['amount']}"]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: second(rows, note="another"),
        lambda rows: second(rows, event_time=rows["event_time"][1].replace(microsecond=1)),
        lambda rows: rows.with_columns(items=pl.col("items").list.reverse()),
        lambda rows: rows.with_columns(note=pl.col("note").fill_null("")),
        lambda rows: rows.with_columns(pl.lit(None, pl.String).alias("currency")),
    ],
    ids=["note", "moment", "items", "null", "all null"],
)
def test_any_altered_value_is_found(tmp_path: Path, expected: Path, change: Change) -> None:
    (problem,) = judge(tables(tmp_path, expected, silver=change), [expected])
    assert problem.startswith("silver: ")
    assert " rows altered: " in problem


def test_a_missing_row_is_named(tmp_path: Path, expected: Path) -> None:
    key = pl.read_parquet(expected / "silver.parquet")["order_id"][0]
    assert judge(tables(tmp_path, expected, silver=lambda rows: rows[1:]), [expected]) == [
        f"silver: 1 rows missing: {key}"
    ]


def test_a_doubled_row_is_named(tmp_path: Path, expected: Path) -> None:
    key = pl.read_parquet(expected / "silver.parquet")["order_id"][0]
    assert judge(tables(tmp_path, expected, silver=lambda rows: pl.concat([rows, rows[:1]])), [expected]) == [
        f"silver: 1 rows doubled: {key}"
    ]


def test_an_extra_row_is_named(tmp_path: Path, expected: Path) -> None:
    def extra(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([rows, rows[:1].with_columns(order_id=pl.lit("never sent"))])

    assert judge(tables(tmp_path, expected, silver=extra), [expected]) == ["silver: 1 rows extra: never sent"]


def test_a_row_without_a_key_is_extra(tmp_path: Path, expected: Path) -> None:
    def keyless(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([rows, rows[:1].with_columns(order_id=pl.lit(None, pl.String))])

    (problem,) = judge(tables(tmp_path, expected, silver=keyless), [expected])
    assert problem.startswith("silver: 1 rows extra")


def test_of_many_differences_the_first_are_named(tmp_path: Path, expected: Path) -> None:
    (problem,) = judge(tables(tmp_path, expected, silver=lambda rows: rows.clear()), [expected])
    keys = sorted(pl.read_parquet(expected / "silver.parquet")["order_id"])
    assert problem == f"silver: {len(keys)} rows missing: {', '.join(keys[:3])}, …"


def test_a_cent_too_much_in_the_mart_is_found(tmp_path: Path, expected: Path) -> None:
    found = tables(tmp_path, expected, gold=lambda rows: rows.with_columns(pl.col("revenue") + Decimal("0.01")))
    (problem,) = judge(found, [expected])
    assert problem.startswith("gold: 15 rows altered: 2026-01-01 apac JPY: revenue ")


def test_text_in_place_of_a_number_is_not_that_number(tmp_path: Path, expected: Path) -> None:
    found = tables(tmp_path, expected, silver=lambda rows: rows.with_columns(pl.col("amount").cast(pl.String)))
    assert judge(found, [expected]) == ["silver: amount is VARCHAR, expected DECIMAL(18, 2)"]


def test_a_missing_column_and_a_missing_table_are_named(tmp_path: Path, expected: Path) -> None:
    found = tables(tmp_path / "a", expected, silver=lambda rows: rows.drop("note"))
    assert judge(found, [expected]) == ["silver: no column note"]
    assert judge(tmp_path / "nothing", [expected]) == [
        f"{name}: no such table" for name in ("bronze", "silver", "gold")
    ]


@pytest.mark.parametrize(("rows", "wrong"), [(3_000, False), (2_997, False), (2_990, True), (3_001, True)])
def test_bronze_has_all_messages_but_for_those_that_are_set_aside(
    tmp_path: Path, expected: Path, rows: int, wrong: bool
) -> None:
    problems = judge(tables(tmp_path, expected, bronze=rows), [expected])
    assert problems == ([f"bronze: {rows} rows, expected 2996 to 3000"] if wrong else [])


def test_several_workloads_in_one_lake_are_judged_together(tmp_path: Path, expected: Path) -> None:
    other = written(Workload(events=1_000, seed=2), tmp_path / "other")
    silver = pl.concat([pl.read_parquet(one / "silver.parquet") for one in (expected, other)])
    gold = pl.concat([pl.read_parquet(one / "gold.parquet") for one in (expected, other)])
    gold = gold.group_by("event_date", "region", "currency").agg(pl.all().sum())
    found = tables(tmp_path / "lake", expected, silver=lambda _: silver, gold=lambda _: gold, bronze=4_000)
    assert judge(found, [expected, other]) == []
    assert judge(found, [expected]) != []
