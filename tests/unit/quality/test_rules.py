"""Row rules: what breaks them, what does not, and what is done with the rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Catalog, Column, Constraints, Dataset, DataType, SqlRule
from dagster_project.errors import ContractError
from dagster_project.quality.gate import judge

INTEGER, TEXT, MONEY = (
    DataType(kind="integer"),
    DataType(kind="string"),
    DataType(kind="decimal", precision=18, scale=2),
)
NUMBER, DATE, TIMESTAMP = DataType(kind="number"), DataType(kind="date"), DataType(kind="timestamp")
ITEM = DataType(
    kind="struct",
    fields=(
        Column(name="sku", type=TEXT, required=True, constraints=Constraints(pattern="^[A-Z]+$")),
        Column(name="n", type=INTEGER, constraints=Constraints(minimum=1)),
    ),
)
ITEMS = DataType(kind="list", element=ITEM)
DEEP = DataType(kind="struct", fields=(Column(name="items", type=ITEMS, constraints=Constraints(max_items=1)),))


def moment(hour: int) -> dt.datetime:
    return dt.datetime(2026, 1, 1, hour, tzinfo=dt.UTC)


def of(dataset: Dataset, columns: tuple[Column, ...], rules: tuple[SqlRule, ...] = ()) -> Dataset:
    return replace(dataset, columns=columns, rules=rules)


def reasons(dataset: Dataset, column: Column, value: Any) -> list[str]:
    """What the gate says of one value."""
    frame = pl.DataFrame({column.name: [value]}, schema=polars_schema((column,)))
    verdict = judge(of(dataset, (column,)), frame)
    assert len(verdict.good) + len(verdict.bad) == 1
    return [] if verdict.bad.is_empty() else verdict.bad["_reasons"][0].to_list()


@pytest.fixture
def dataset(catalog: Catalog) -> Dataset:
    return catalog.datasets[0]


@pytest.mark.parametrize(
    ("data_type", "bounds", "kept", "broken", "rule"),
    [
        (TEXT, Constraints(enum=("a", "b")), ["a", "b", None], ["c", "A", ""], "enum"),
        (INTEGER, Constraints(enum=(1, 2)), [1, 2, None], [3], "enum"),
        (INTEGER, Constraints(minimum=1), [1, 2, None], [0, -5], "minimum"),
        (INTEGER, Constraints(maximum=1), [1, 0, None], [2], "maximum"),
        (NUMBER, Constraints(minimum=0.5), [0.5, None], [0.49], "minimum"),
        (NUMBER, Constraints(maximum=1), [1.0, None], [1.0000001], "maximum"),
        (MONEY, Constraints(minimum=0.1), [Decimal("0.10"), None], [Decimal("0.09")], "minimum"),
        (MONEY, Constraints(maximum=1_000_000), [Decimal("1000000.00"), None], [Decimal("1000000.01")], "maximum"),
        (DATE, Constraints(minimum="2026-01-02"), [dt.date(2026, 1, 2), None], [dt.date(2026, 1, 1)], "minimum"),
        (TIMESTAMP, Constraints(maximum="2026-01-01T05:00:00"), [moment(5), None], [moment(6)], "maximum"),
        (TIMESTAMP, Constraints(minimum="2026-01-01T05:00:00+02:00"), [moment(3), None], [moment(2)], "minimum"),
        (INTEGER, Constraints(exclusive_minimum=1), [2, None], [1, 0], "exclusiveMinimum"),
        (MONEY, Constraints(exclusive_maximum=0.1), [Decimal("0.09"), None], [Decimal("0.10")], "exclusiveMaximum"),
        (TIMESTAMP, Constraints(exclusive_minimum="2026-01-01T05:00:00"), [moment(6)], [moment(5)], "exclusiveMinimum"),
        (INTEGER, Constraints(multiple_of=5), [0, -5, 10, None], [1, 11], "multipleOf"),
        (MONEY, Constraints(multiple_of=0.05), [Decimal("0.15"), None], [Decimal("0.16")], "multipleOf"),
        (TEXT, Constraints(min_length=2), ["éé", "abc", None], ["é", ""], "minLength"),
        (TEXT, Constraints(max_length=2), ["éé", "", None], ["abc"], "maxLength"),
        (TEXT, Constraints(pattern="^[0-9]{2}$"), ["12", None], ["1", "123", ""], "pattern"),
        (ITEMS, Constraints(min_items=1), [[{"sku": "A"}], None], [[]], "minItems"),
        (ITEMS, Constraints(max_items=1), [[], None], [[{"sku": "A"}, {"sku": "B"}]], "maxItems"),
        (
            ITEMS,
            Constraints(unique_items=True),
            [[{"sku": "A"}, {"sku": "B"}], [], None],
            [[{"sku": "A"}] * 2],
            "uniqueItems",
        ),
    ],
)
def test_each_kind_of_rule(
    dataset: Dataset, data_type: DataType, bounds: Constraints, kept: list[Any], broken: list[Any], rule: str
) -> None:
    column = Column(name="x", type=data_type, constraints=bounds)
    for value in kept:
        assert reasons(dataset, column, value) == []
    for value in broken:
        assert reasons(dataset, column, value) == [f"x.{rule}"]


@pytest.mark.parametrize(
    ("data_type", "kept", "broken"),
    [
        (TIMESTAMP, [moment(5), moment(6), None], [moment(7)]),
        (DATE, [dt.date(2026, 1, 1), None], [dt.date(2026, 1, 2)]),
    ],
)
def test_the_future_begins_when_the_record_was_sent(
    dataset: Dataset, data_type: DataType, kept: list[Any], broken: list[Any]
) -> None:
    column = Column(name="x", type=data_type, constraints=Constraints(not_in_future=dt.timedelta(hours=1)))
    schema = polars_schema((column,)) | {"_kafka_timestamp": pl.Datetime("us", "UTC")}
    for value in (*kept, *broken):
        staged = pl.DataFrame({"x": [value], "_kafka_timestamp": [moment(5)]}, schema=schema)
        found = judge(of(dataset, (column,)), staged).bad["_reasons"].to_list()
        assert found == ([["x.notInFuture"]] if value in broken else [])


def test_null_breaks_required_and_nothing_else(dataset: Dataset) -> None:
    column = Column(name="x", type=INTEGER, required=True, constraints=Constraints(minimum=1, enum=(1,)))
    assert reasons(dataset, column, None) == ["x.required"]
    assert reasons(dataset, column, 0) == ["x.enum", "x.minimum"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ([], []),
        ([{"sku": "A", "n": 1}, {"sku": "B", "n": None}], []),
        ([{"sku": "A", "n": 1}, {"sku": "b", "n": 0}], ["items[].sku.pattern", "items[].n.minimum"]),
        ([{"sku": None, "n": 1}], ["items[].sku.required"]),
    ],
)
def test_rules_inside_lists(dataset: Dataset, value: Any, expected: list[str]) -> None:
    assert reasons(dataset, Column(name="items", type=ITEMS), value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"sku": "A", "n": 1}, []),
        ({"sku": None, "n": 1}, ["item.sku.required"]),
        ({"sku": "a", "n": 0}, ["item.sku.pattern", "item.n.minimum"]),
        (None, []),  # nothing is required of an object that is not there
    ],
)
def test_rules_inside_objects(dataset: Dataset, value: Any, expected: list[str]) -> None:
    assert reasons(dataset, Column(name="item", type=ITEM), value) == expected


def test_rules_at_any_depth(dataset: Dataset) -> None:
    column = Column(name="deep", type=DEEP)
    assert reasons(dataset, column, {"items": [{"sku": "A", "n": 1}]}) == []
    assert reasons(dataset, column, {"items": None}) == []
    assert reasons(dataset, column, {"items": [{"sku": "A", "n": 1}, {"sku": "a", "n": 1}]}) == [
        "deep.items.maxItems",
        "deep.items[].sku.pattern",
    ]


X, Y = Column(name="x", type=INTEGER), Column(name="y", type=INTEGER)


def frame(rows: list[tuple[int | None, int | None]], **more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {"x": [x for x, _ in rows], "y": [y for _, y in rows], **more}, schema_overrides={"x": pl.Int64, "y": pl.Int64}
    )


def test_an_sql_rule_must_be_true(dataset: Dataset) -> None:
    rule = SqlRule(id="ordered", predicate="x <= y")
    verdict = judge(of(dataset, (X, Y), (rule,)), frame([(1, 2), (2, 1), (None, 1), (3, 3)]))
    assert verdict.good.select("x", "y").rows() == [(1, 2), (3, 3)]
    # Unknown is not true: a rule that means to let null pass says so.
    assert verdict.bad.select("x", "y").rows() == [(2, 1), (None, 1)]
    assert verdict.bad["_reasons"].to_list() == [["ordered"], ["ordered"]]


def test_every_reason_is_given(dataset: Dataset) -> None:
    columns = (replace(X, constraints=Constraints(maximum=1)), replace(Y, required=True))
    verdict = judge(of(dataset, columns, (SqlRule(id="even", predicate="x % 2 = 0"),)), frame([(3, None), (0, 1)]))
    assert verdict.bad["_reasons"].to_list() == [["x.maximum", "y.required", "even"]]
    assert verdict.good.rows() == [(0, 1)]


def test_a_warning_counts_and_keeps_the_row(dataset: Dataset) -> None:
    rule = SqlRule(id="odd", predicate="x % 2 = 1", severity="warning")
    verdict = judge(of(dataset, (X, Y), (rule,)), frame([(1, 0), (2, 0), (4, 0)]))
    assert len(verdict.good) == 3
    assert verdict.bad.is_empty()
    assert verdict.warnings == {"odd": 2}


def test_deletes_are_not_judged(dataset: Dataset) -> None:
    columns = (replace(X, required=True), Y)
    rules = (
        SqlRule(id="has_y", predicate="y IS NOT NULL"),
        SqlRule(id="odd", predicate="x % 2 = 1", severity="warning"),
    )
    verdict = judge(of(dataset, columns, rules), frame([(None, None), (None, None)], _deleted=[True, False]))
    assert verdict.good["_deleted"].to_list() == [True]
    assert verdict.bad["_reasons"].to_list() == [["x.required", "has_y"]]
    assert verdict.warnings == {"odd": 1}


def test_times_in_sql_rules_are_utc(dataset: Dataset) -> None:
    column = Column(name="t", type=TIMESTAMP)
    staged = pl.DataFrame({"t": [moment(23)]}, schema=polars_schema((column,)))
    verdict = judge(of(dataset, (column,), (SqlRule(id="day", predicate="t::DATE = DATE '2026-01-01'"),)), staged)
    assert len(verdict.good) == 1


def test_a_rule_about_several_rows_names_the_right_ones(dataset: Dataset) -> None:
    """DuckDB gives the rows of a window in the window's order."""
    rule = SqlRule(id="first", predicate="row_number() OVER (PARTITION BY x % 7 ORDER BY y DESC) = 1")
    rows = [(number, (number * 37) % 1_000) for number in range(1_000)]
    wanted = {max((y, x) for x, y in rows if x % 7 == group)[1] for group in range(7)}
    verdict = judge(of(dataset, (X, Y), (rule,)), frame([(x, y) for x, y in rows]))
    assert set(verdict.good["x"]) == wanted


@pytest.mark.parametrize(
    "predicate", ["z > 1", "x >", "x > 1; DROP TABLE staged", "x + 'a' > 1", "(SELECT count(*) FROM '/etc/passwd') > 0"]
)
def test_a_rule_that_does_not_run_is_the_contracts_fault(dataset: Dataset, predicate: str) -> None:
    with pytest.raises(ContractError, match="rule 'broken'") as refused:
        judge(of(dataset, (X, Y), (SqlRule(id="broken", predicate=predicate),)), frame([(1, 1)]))
    assert refused.value.expected == "an SQL predicate over the contract's columns"


def test_no_rules_and_no_rows(dataset: Dataset) -> None:
    verdict = judge(of(dataset, (X, Y)), frame([(1, 1)]))
    assert len(verdict.good) == 1
    assert verdict.bad.columns == ["x", "y", "_reasons"]
    verdict = judge(of(dataset, (replace(X, required=True), Y), (SqlRule(id="r", predicate="x > 0"),)), frame([]))
    assert verdict.good.is_empty()
    assert verdict.bad.is_empty()


def test_what_is_advised_for_plain_values_in_a_list_judges_them(dataset: Dataset) -> None:
    tags = Column(name="tags", type=DataType(kind="list", element=TEXT))
    # As docs/contracts.md has it.
    rule = SqlRule(
        id="short", predicate="tags IS NULL OR len(list_filter(tags, lambda x: length(x) > 40)) = 0", severity="error"
    )
    frame = pl.DataFrame({"tags": [["a", "b" * 40], [], None, ["a", "b" * 41]]}, schema=polars_schema((tags,)))

    verdict = judge(of(dataset, (tags,), (rule,)), frame)

    assert verdict.good["tags"].to_list() == [["a", "b" * 40], [], None]
    assert verdict.bad["_reasons"].to_list() == [["short"]]
