"""Marts are compared with their oracle row by row, whichever rows begin at the same moment."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.settings import REPOSITORY
from tests.retail.dimensions import dim_customer
from tests.retail.judge import problems

MOMENT = pd.Timestamp("2026-03-01T12:00:00.848Z")


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """Two customers that were made in the same millisecond, and what became of them in Gold."""

    customers: pd.DataFrame
    dimension: pl.DataFrame
    catalog: Catalog

    def sent(self) -> dict[str, pd.DataFrame]:
        return {"customers": self.customers}

    def marts(self) -> dict[str, pl.DataFrame]:
        return {"dim_customer": self.dimension}


def delivered(**changed: str) -> Delivered:
    customers = pd.DataFrame(
        {
            "customer_id": ["c-1", "c-2"],
            "event_time": [MOMENT, MOMENT],
            "region": ["eu", "us"],
            "segment": ["consumer", "business"],
            "country": ["IT", "US"],
            "deleted": [False, False],
        }
    )
    rows = pl.from_pandas(dim_customer(customers)).reverse()
    return Delivered(
        customers=customers,
        dimension=rows.with_columns(**{name: pl.lit(value) for name, value in changed.items()}),
        catalog=load_catalog(REPOSITORY / "contracts"),
    )


def test_the_order_of_equal_moments_is_no_difference() -> None:
    assert list(problems(delivered())) == []  # pyright: ignore[reportArgumentType] all of a shop that is asked for


def test_a_row_that_differs_is_told() -> None:
    (problem,) = problems(delivered(country="FR"))  # pyright: ignore[reportArgumentType] as above
    assert problem.startswith("dim_customer: {'country': ('FR', 'IT')}")
