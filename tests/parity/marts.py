"""Every mart of the project by both engines, from the same input: the same tables, cell for cell.

make parity
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dagster_project.refine.gold import LocalEngine
from dagster_project.spark.engine import SparkEngine
from tests.parity.session import Session
from tests.parity.world import Tables, batches, contracts

# Sums of doubles depend on the order of their rows in the last digits; nothing else differs at all.
_CLOSE = 1e-12
_BATCHES = 3


@pytest.mark.timeout(1800)
def test_every_mart_is_the_same_by_duckdb_alone_and_by_both_in_turn(session: Session, tmp_path: Path) -> None:
    """First Spark makes the tables, then DuckDB goes on with them, then Spark again."""
    local, cluster = LocalEngine(), SparkEngine(launch=session)
    alone, turns = Tables.at(tmp_path / "alone"), Tables.at(tmp_path / "turns")
    for number, batch in enumerate(batches(_BATCHES)):
        for world in (alone, turns):
            for name, messages in batch.items():
                world.lakes[name].arrive(*messages)
                world.lakes[name].refine()
        for mart in contracts().marts:
            computed = alone.compute(mart.name, local)
            assert turns.compute(mart.name, (cluster, local)[number % 2]) == computed, mart.name
            assert_same(turns.gold(mart.name), alone.gold(mart.name), f"{mart.name}, batch {number}")
            assert turns.cursors(mart.name) == alone.cursors(mart.name), mart.name
            assert not number or turns.compute(mart.name, cluster) == 0, f"{mart.name} is up to date"
    for mart in contracts().marts:
        assert not turns.gold(mart.name).is_empty(), mart.name


def assert_same(found: pl.DataFrame, wanted: pl.DataFrame, what: str) -> None:
    assert found.schema == wanted.schema, what
    assert found.height == wanted.height, what
    for name, dtype in wanted.schema.items():
        if dtype.is_float():
            close = (found[name] - wanted[name]).abs() <= _CLOSE * wanted[name].abs()
            assert (close | (found[name].is_null() & wanted[name].is_null())).fill_null(False).all(), f"{what}: {name}"
        else:
            other = found[name].ne_missing(wanted[name])
            assert not other.any(), (
                f"{what}: {name}: {found.filter(other).head(3)} is not {wanted.filter(other).head(3)}"
            )
