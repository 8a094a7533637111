"""Hot keys are found by a summary of bounded size, whatever the batches, and an undeclared one is warned of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.checks import skew
from dagster_project.contract.model import Catalog, Dataset, HotKeys
from dagster_project.ingest import hot_keys
from dagster_project.ingest.bronze import Batch, place
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.hot_keys import KeyCounts, count_keys
from tests.unit.lakes import fetched, reading

KEPT = 3
ASSET = dg.AssetKey(["bronze", "readings"])
BATCHES = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=30), min_size=1, max_size=6)


def watched(catalog: Catalog, *declared: str) -> Dataset:
    return replace(catalog.datasets[0], hot_keys=HotKeys(column="id", values=declared))


def batch(keys: KeyCounts) -> Batch:
    return Batch(
        batch_id=0, version=1, rows={}, events=keys.rows, poison=0, tombstones=0, bytes=0, offsets={}, reasons={},
        drifted=0, unknown={}, seconds=0.0, keys=keys,
    )  # fmt: skip


def some(hot: int, others: int) -> KeyCounts:
    """So many rows of one key, and as many others of a key each."""
    return KeyCounts.of(pl.Series(["bot"] * hot + [f"v-{number}" for number in range(others)]))


@settings(deadline=None)
@given(batches=BATCHES)
def test_a_count_is_never_too_high_and_never_short_by_more_than_it_says(batches: list[list[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot_keys, "_KEPT", KEPT)
        found = sum((KeyCounts.of(pl.Series(values, dtype=pl.String)) for values in batches), KeyCounts())
    true = Counter(value for values in batches for value in values)
    assert found.rows == true.total()
    assert len(found.counts) <= KEPT
    assert found.missed <= true.total() / (KEPT + 1)
    for value in "abcdefghij":
        assert 0 <= true[value] - found.counts.get(value, 0) <= found.missed


def test_what_the_contract_names_is_counted_and_poison_is_not(catalog: Catalog) -> None:
    dataset = watched(catalog)
    messages = [*(reading(offset, "a") for offset in range(3)), reading(3, "b"), replace(reading(4), payload=b"{")]
    rows = place(dataset, fetched(messages), Decoder(dataset.columns))
    assert count_keys(dataset, rows) == KeyCounts(rows=4, counts={"a": 3, "b": 1})
    assert count_keys(replace(dataset, hot_keys=None), rows) == KeyCounts()


def test_an_undeclared_hot_key_is_warned_of(catalog: Catalog) -> None:
    batches = [batch(some(1_500, 4_500)), batch(some(1_500, 4_500))]
    (undeclared,) = skew.results(watched(catalog), batches, ASSET)
    (declared,) = skew.results(watched(catalog, "bot"), batches, ASSET)
    assert (undeclared.passed, undeclared.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert undeclared.metadata["undeclared"] == dg.MetadataValue.json(["bot"])
    assert "declare them" in str(undeclared.metadata["next"].value)
    assert declared.passed


@pytest.mark.parametrize(("hot", "others"), [(1_000, 11_000), (3_000, 6_999)], ids=["not hot", "too few rows"])
def test_an_even_column_and_a_small_run_pass(catalog: Catalog, hot: int, others: int) -> None:
    (result,) = skew.results(watched(catalog), [batch(some(hot, others))], ASSET)
    assert result.passed


def test_the_run_names_the_most_frequent_keys_with_their_share() -> None:
    keys = KeyCounts.of(pl.Series(["bot"] * 60 + ["shop"] * 40))
    table = skew.hot_keys(HotKeys(column="id", values=("bot",)), [batch(keys)])
    assert [record.data for record in table.records] == [
        {"key": "bot", "share": 0.6, "declared": True},
        {"key": "shop", "share": 0.4, "declared": False},
    ]


def test_a_contract_without_hot_keys_has_no_check(catalog: Catalog) -> None:
    plain = catalog.datasets[0]
    assert (skew.specs(plain, ASSET), skew.results(plain, [], ASSET)) == ([], [])
    assert [spec.name for spec in skew.specs(watched(catalog), ASSET)] == ["skew"]
