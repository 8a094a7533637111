"""Table rules: what each metric counts, what each operator lets through, and rules that do not run."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dagster_project.contract.quality import Bound, TableRule
from dagster_project.errors import ContractError
from dagster_project.quality.audit import audit

ROWS = pl.DataFrame(
    {"id": ["a", "b", "b", None, None], "n": [1, 2, 2, None, 5], "note": ["", "N/A", "x1", None, "y"]},
    schema={"id": pl.String, "n": pl.Int64, "note": pl.String},
)


def measured(rows: pl.DataFrame, **rule: Any) -> float:
    """What a rule that nothing keeps to has found."""
    never = TableRule(id="r", bound=Bound(operator="mustBe", values=(-1.0,)), **rule)
    (finding,) = audit([never], rows.lazy())
    return finding.found


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        ({"metric": "rowCount"}, 5),
        ({"metric": "nullValues", "columns": ("id",)}, 2),
        ({"metric": "missingValues", "columns": ("note",), "values": (None, "", "N/A")}, 3),
        ({"metric": "missingValues", "columns": ("note",), "values": ("N/A",)}, 1),
        ({"metric": "missingValues", "columns": ("note",), "values": (None,)}, 1),
        ({"metric": "missingValues", "columns": ("n",), "values": (2,)}, 2),
        # What is not there is not invalid.
        ({"metric": "invalidValues", "columns": ("note",), "values": ("x1", "y")}, 2),
        ({"metric": "invalidValues", "columns": ("note",), "pattern": "^[xy]"}, 2),
        ({"metric": "invalidValues", "columns": ("note",), "values": ("x1", "y"), "pattern": "1$"}, 3),
        # One row too many; rows without a key are no copies of each other.
        ({"metric": "duplicateValues", "columns": ("id",)}, 1),
        ({"metric": "duplicateValues", "columns": ("id", "note")}, 0),
        ({"metric": "sql", "query": "SELECT count(*) FROM staged"}, 5),
        ({"metric": "sql", "query": "SELECT sum(n) FROM staged WHERE id = 'b'"}, 4),
    ],
)
def test_what_each_metric_counts(rule: dict[str, Any], count: float) -> None:
    assert measured(ROWS, **rule) == count


def test_shares_are_in_percent_of_the_rows() -> None:
    assert measured(ROWS, metric="nullValues", columns=("id",), percent=True) == 40.0
    assert measured(ROWS.head(0), metric="nullValues", columns=("id",), percent=True) == 0.0
    assert measured(ROWS.head(0), metric="duplicateValues", columns=("id",)) == 0.0


@pytest.mark.parametrize(
    ("operator", "values", "kept", "broken"),
    [
        ("mustBe", (5,), 5, 4),
        ("mustNotBe", (5,), 4, 5),
        ("mustBeGreaterThan", (4,), 5, 4),
        ("mustBeGreaterOrEqualTo", (5,), 5, 4),
        ("mustBeLessThan", (5,), 4, 5),
        ("mustBeLessOrEqualTo", (4,), 4, 5),
        ("mustBeBetween", (3, 4), 4, 5),
        ("mustNotBeBetween", (3, 4), 5, 4),
    ],
)
def test_each_operator(operator: str, values: tuple[float, ...], kept: int, broken: int) -> None:
    rule = TableRule(id="rows", metric="rowCount", bound=Bound(operator=operator, values=values), severity="warning")
    assert audit([rule], ROWS.head(kept).lazy()) == []
    (finding,) = audit([rule], ROWS.head(broken).lazy())
    assert (finding.rule, finding.severity, finding.found) == ("rows", "warning", broken)


def test_a_finding_says_what_was_measured_and_what_it_must_be() -> None:
    bound = Bound(operator="mustBeBetween", values=(0, 20))
    rule = TableRule(id="ids", metric="nullValues", columns=("id",), bound=bound, percent=True)
    (finding,) = audit([rule], ROWS.lazy())
    assert str(finding) == "ids: 40, must be between 0 and 20 percent"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nothing FROM staged",
        "SELECT id FROM staged",
        "SELECT max(id) FROM staged",
        "SELECT 1, 2",
        "FROM '/etc/passwd'",
    ],
)
def test_a_query_that_yields_no_number_is_the_contracts_fault(query: str) -> None:
    with pytest.raises(ContractError, match="rule 'broken'") as refused:
        audit(
            [TableRule(id="broken", metric="sql", query=query, bound=Bound(operator="mustBe", values=(0,)))],
            ROWS.lazy(),
        )
    assert refused.value.expected == "a query over {object} that yields one number"
