"""Marts are compared with their oracle row by row, whichever rows begin at the same moment."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.settings import REPOSITORY
from tests.retail.dimensions import dim_customer
from tests.retail.judge import problems, silver_problems

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


@dataclass(frozen=True, kw_only=True)
class Refined:
    """A customer as Silver has one, and the mark of another who has left."""

    found: pl.DataFrame
    catalog: Catalog

    def silver(self) -> dict[str, pl.DataFrame]:
        return {"customers": self.found}


def silver_of(**changed: object) -> list[str]:
    sent = pd.DataFrame(
        {
            "customer_id": ["c-1", "c-2"],
            "event_time": [MOMENT, MOMENT],
            "segment": ["consumer", None],
            "email": ["somebody@mail.example", None],
            "kafka_partition": [0, 0],
            "kafka_offset": [7, 8],
            "deleted": [False, True],
        }
    )
    rows = pl.from_pandas(sent.drop(columns="email")).rename(
        {"kafka_partition": "_kafka_partition", "kafka_offset": "_kafka_offset", "deleted": "_deleted"}
    )
    found = rows.with_columns(**{name: pl.lit(value) for name, value in changed.items()}, email=pl.lit("a pseudonym"))
    shop = Refined(found=found, catalog=load_catalog(REPOSITORY / "contracts"))
    return list(silver_problems(shop, {"customers": sent}))  # pyright: ignore[reportArgumentType] all of a shop that is asked for


def test_silver_is_what_was_sent_but_for_pseudonyms_and_deletes() -> None:
    assert silver_of() == []


def test_a_value_or_a_message_that_differs_in_silver_is_told() -> None:
    assert silver_of(segment="business")[0].startswith("silver/customers: {'segment': ('business', 'consumer')}")
    assert silver_of(_kafka_offset=9)[0].startswith("silver/customers: {'_kafka_offset': (9, 7)}")
