"""The workload is what it says, and its oracle is what a plain reading of its messages comes to."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks import oracle, workload
from benchmarks.spoil import POISON, UNLAWFUL
from benchmarks.workload import TRANSACTION, Chunk, Workload
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.ingest import exact
from dagster_project.lake.specs import RESCUED
from dagster_project.settings import REPOSITORY

# Three chunks, the last of them not full: orders go on in the next one.
CHUNK = 10_000
WORKLOAD = Workload(events=2 * CHUNK + 4_321, seed=7)
STATUSES = {"created", "paid", "shipped", "cancelled"}


@pytest.fixture(scope="module")
def chunks() -> list[Chunk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workload, "CHUNK", CHUNK)
        return list(WORKLOAD.chunks())


@pytest.fixture(scope="module")
def committed(chunks: list[Chunk]) -> pl.DataFrame:
    """What a reader of committed messages sees, in the order of sending."""
    segments = [segment for chunk in chunks for segment in chunk.segments if segment.kind != "aborted"]
    return pl.concat([segment.messages for segment in segments])


@pytest.fixture(scope="module")
def folder(chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("oracle") / "oracle"
    expected = oracle.Oracle(found)
    for chunk in chunks:
        expected.add(chunk)
    expected.close()
    return found


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_catalog(REPOSITORY / "benchmarks" / "contracts" / "retail").datasets[0]


def judged(payload: bytes, dataset: Dataset) -> tuple[str, dict[str, Any]]:
    """The fate of one message, by the rules of the contract spelt out once more."""
    try:
        row = exact.decode(payload, dataset.columns)
    except exact.Rejected:
        return "poison", {}
    assert row.pop(RESCUED) is None
    if row["region"] not in dataset.regions:
        return "poison", {}
    lawful = (
        row["status"] in STATUSES
        and row["amount"] >= 0
        and row["items"]
        and all(re.fullmatch("[A-Z0-9-]{3,32}", item["sku"]) and item["quantity"] >= 1 for item in row["items"])
        and row["event_time"] >= row["ordered_at"]
    )
    return ("valid" if lawful else "gated"), row


def test_silver_and_gold_are_what_a_plain_reading_comes_to(
    committed: pl.DataFrame, folder: Path, dataset: Dataset
) -> None:
    newest: dict[str, dict[str, Any]] = {}
    fates = Counter[str]()
    for payload in committed["value"]:
        fate, row = judged(payload, dataset)
        fates[fate] += 1
        if fate == "valid" and (
            row["order_id"] not in newest or row["event_time"] > newest[row["order_id"]]["event_time"]
        ):
            newest[row["order_id"]] = row
    counts = oracle.counts(folder)
    assert fates == {
        "valid": counts["valid"] + counts["duplicates"],
        "poison": counts["poison"],
        "gated": counts["gated"],
    }
    silver = pl.read_parquet(folder / "silver.parquet").to_dicts()
    assert len(silver) == len(newest) == counts["orders"]
    assert {row["order_id"]: row for row in silver} == newest
    groups: defaultdict[tuple[dt.date, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in newest.values():
        groups[row["ordered_at"].date(), row["region"], row["currency"]].append(row)
    gold = {
        (row["event_date"], row["region"], row["currency"]): row
        for row in pl.read_parquet(folder / "gold.parquet").to_dicts()
    }
    assert gold.keys() == groups.keys()
    for group, rows in groups.items():
        kept = [row for row in rows if row["status"] != "cancelled"]
        assert gold[group]["orders"] == len(kept)
        assert gold[group]["cancelled"] == len(rows) - len(kept)
        assert gold[group]["units"] == sum(item["quantity"] for row in kept for item in row["items"])
        assert gold[group]["revenue"] == sum((row["amount"] for row in kept), Decimal())


def test_there_are_as_many_messages_as_asked_for_and_as_counted(committed: pl.DataFrame, folder: Path) -> None:
    counts = oracle.counts(folder)
    assert len(committed) == WORKLOAD.events == counts["events"]
    assert counts["valid"] + counts["duplicates"] + counts["poison"] + counts["gated"] == counts["events"]
    assert counts["superseded"] == counts["valid"] - counts["orders"]
    assert counts["payload_bytes"] == committed["value"].bin.size().sum()
    assert len(committed) - committed["value"].n_unique() >= counts["duplicates"]
    assert counts["duplicates"] / counts["events"] == pytest.approx(0.05, rel=0.01)
    assert counts["poison"] / counts["events"] == pytest.approx(0.001, rel=0.05)
    assert counts["late"] / counts["valid"] == pytest.approx(0.03, rel=0.15)


def test_aborted_messages_would_be_seen_if_they_were_read(chunks: list[Chunk], folder: Path) -> None:
    segments = [segment for chunk in chunks for segment in chunk.segments]
    kinds = Counter(segment.kind for segment in segments)
    assert kinds["aborted"] == 1
    assert kinds["committed"] == 1
    assert {len(segment.messages) for segment in segments if segment.kind != "plain"} == {TRANSACTION}
    assert segments[-1].kind == "plain"
    newest = {row["order_id"]: row for row in pl.read_parquet(folder / "silver.parquet").to_dicts()}
    for segment in segments:
        if segment.kind == "aborted":
            rows = [json.loads(payload) for payload in segment.messages["value"]]
            assert {row["status"] for row in rows} == {"cancelled"}
            assert all(
                dt.datetime.fromisoformat(row["event_time"]) > newest[row["order_id"]]["event_time"] for row in rows
            )


def test_payloads_are_as_large_as_said(committed: pl.DataFrame) -> None:
    sizes = committed["value"].bin.size()
    assert int(sizes.is_between(300, 500).sum()) > 0.998 * len(sizes)  # all but broken ones


def test_versions_of_an_order_arrive_out_of_order(committed: pl.DataFrame, dataset: Dataset) -> None:
    seen: defaultdict[str, list[dt.datetime]] = defaultdict(list)
    for payload in committed["value"]:
        fate, row = judged(payload, dataset)
        if fate == "valid":
            seen[row["order_id"]].append(row["event_time"])
    overtaken = sum(times != sorted(times) for times in seen.values())
    assert overtaken > len(seen) * 0.01
    assert max(len(set(times)) for times in seen.values()) == 4


def test_the_same_values_give_the_same_messages_and_another_seed_gives_other_orders() -> None:
    def messages(seed: int) -> pl.DataFrame:
        (chunk,) = Workload(events=3_000, seed=seed).chunks()
        return pl.concat([segment.messages for segment in chunk.segments])

    assert messages(1).equals(messages(1))
    assert messages(1).join(messages(2), on="key", how="semi").is_empty()


def test_orders_stay_in_the_days_and_regions_that_were_chosen() -> None:
    day = dt.date(2026, 1, 9)
    (chunk,) = Workload(events=3_000, first_day=day, days=1, regions=("mea",)).chunks()
    assert set(chunk.silver["ordered_at"].dt.date()) == {day}
    assert set(chunk.silver["region"]) == {"mea"}


@pytest.mark.parametrize(("ways", "fate"), [(POISON, "poison"), (UNLAWFUL, "gated")])
def test_each_way_to_spoil_an_event_does(ways: dict[str, Any], fate: str, dataset: Dataset) -> None:
    (chunk,) = Workload(events=500).chunks()
    payload = chunk.segments[0].messages["value"][0]
    assert judged(payload, dataset)[0] == "valid"
    for spoiler in ways.values():
        assert judged(spoiler(payload), dataset)[0] == fate
