"""Whatever a topic holds, each message ends as one row, and its neighbours do not notice."""

from __future__ import annotations

import datetime as dt
import resource
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagster_project.accounting.account import account
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest import exact
from dagster_project.ingest.bronze import place
from dagster_project.ingest.decode import ERROR, RESCUED, Decoder
from dagster_project.ingest.fetch import Fetched
from dagster_project.ingest.records import opened
from dagster_project.lake import specs
from dagster_project.topics.feed import Portion
from tests import batches, hostile
from tests.hostile import Record
from tests.unit import lakes
from tests.unit.lakes import Lake, write_project

COUNT = 20_000
SEED = 20_260_101
# The tables of all messages at once, twice over; a decoder that expands a number of a million digits takes far more.
_MOST_BYTES = 3 * 1024**3


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return load_catalog(write_project(tmp_path_factory.mktemp("probes"), {"probes.odcs.yaml": hostile.CONTRACT}))


@pytest.fixture(scope="module")
def dataset(probes: Catalog) -> Dataset:
    return probes.datasets[0]


@pytest.fixture(scope="module")
def everything() -> list[Record]:
    return list(hostile.records(seed=SEED, count=COUNT))


def fetched(records: Sequence[Record]) -> Fetched:
    content = batches.batch(records) if records else b""
    portion = Portion(partition=0, content=content, aborted=(), end=len(records))
    frame = opened(portion, topic="test.probes", following=0).messages
    return Fetched(messages=frame, next={0: records[-1].place + 1} if records else {}, caught_up=True)


def check(records: Sequence[Record], rows: pl.DataFrame) -> None:
    """One row each, in order, as sent; good ones with the values that they were made from."""
    assert rows["_kafka_offset"].to_list() == [record.place for record in records]
    assert rows["_payload"].to_list() == [record.content for record in records]
    assert rows["_key"].to_list() == [record.name for record in records]
    sent = [[{"key": key, "value": value} for key, value in record.fields or []] for record in records]
    assert rows["_headers"].to_list() == sent
    poison = rows["_kind"] == specs.POISON
    assert rows["_kind"].is_in([specs.EVENT, specs.POISON, specs.TOMBSTONE]).all()
    assert (rows["_error"].is_not_null() == poison).all()
    assert rows.filter(poison).filter(pl.col("_error").str.strip_chars() == "").is_empty()
    places = rows.select("id", "at", "event_date", "region").filter(rows["_kind"] == specs.EVENT)
    assert places.null_count().row(0) == (0, 0, 0, 0)
    good = [record for record in records if record.good is not None]
    names = ["id", "at", "region", "level", "small", "amount", "ratio", "flag", "day", "text", "tags", "place"]
    found = rows.filter(pl.Series([record.good is not None for record in records], dtype=pl.Boolean)).select(names)
    for record, row in zip(good, found.to_dicts(), strict=True):
        assert row == record.good, record


def test_every_message_of_random_batches_becomes_one_row(dataset: Dataset, everything: list[Record]) -> None:
    rng, decoder, at = Random(SEED), Decoder(dataset.columns), 0
    while at < len(everything):
        batch = everything[at : at + rng.choice([1, 2, 7, 100, 1_500])]
        check(batch, place(dataset, fetched(batch), decoder))
        at += len(batch)


def test_by_column_is_as_one_by_one(dataset: Dataset, everything: list[Record]) -> None:
    payloads = [record.content for record in everything if record.content is not None]
    found = Decoder(dataset.columns).decode(pl.Series(payloads, dtype=pl.Binary)).to_dicts()
    for payload, row in zip(payloads, found, strict=True):
        if len(payload) > 100_000:  # costs much and shows nothing more
            continue
        try:
            expected: dict[str, Any] = {**exact.decode(payload, dataset.columns), ERROR: None}
        except exact.Rejected as reason:
            expected = {**dict.fromkeys(column.name for column in dataset.columns), RESCUED: None, ERROR: str(reason)}
        assert row == expected, payload[:500]


def test_the_generator_makes_every_kind_of_trouble(dataset: Dataset, everything: list[Record]) -> None:
    rows = place(dataset, fetched(everything), Decoder(dataset.columns))
    reasons = set(rows["_error"].drop_nulls().str.split(":").list.first())
    assert {"payload.json", "payload.utf8", "payload.object", "payload.depth", "key.parts", "at.type", "at.horizon",
            "amount.scale", "amount.range", "level.range", "text.utf8", "place.type", "id.required", "region.enum"} <= reasons  # fmt: skip
    kinds = dict(rows["_kind"].value_counts().iter_rows())
    assert min(kinds.values()) > 100
    assert sum(record.good is not None for record in everything) > COUNT // 4


def test_all_of_it_at_once_goes_all_the_way(
    tmp_path: Path, probes: Catalog, dataset: Dataset, everything: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lake = Lake.at(tmp_path / "lake", catalog=probes)
    monkeypatch.setattr(lakes, "fetched", lambda messages, _: fetched(messages))
    lake.arrive(*cast("list[Any]", everything))
    bronze = lake.bronze.rows().collect()
    check(everything, bronze.sort("_kafka_offset"))
    lake.refine()
    silver, quarantine = lake.silver.rows().collect(), lake.quarantine.rows().collect()

    lawful = {r.place: r.good for r in everything if r.good is not None and (r.good["level"] or 0) >= 0}
    unlawful = {r.place for r in everything if r.good is not None and (r.good["level"] or 0) < 0}
    kept = {row["_kafka_offset"]: row for row in silver.to_dicts()}
    for offset, good in lawful.items():
        assert {name: kept[offset][name] for name in good} == good
    held = quarantine["_kafka_offset"].to_list()
    assert unlawful <= set(held)
    assert len(set(held)) == len(held)
    assert set(held).isdisjoint(kept)
    found = account(dataset, catalog=probes, storage=lake.storage, topic=None, bootstrap_servers="")
    assert (found.problems, found.unaccounted, found.pending, found.gaps) == ((), 0, 0, 0)
    assert (found.offsets, found.bronze_rows) == (COUNT, COUNT)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < _MOST_BYTES


def test_json_cut_at_every_byte(dataset: Dataset) -> None:
    rng = Random(SEED)
    good = hostile.good_values(rng, "whole") | {"text": "Łódź 😀", "tags": ["a"], "place": None}
    content = hostile.render(rng, good).strip()
    cut = [Record(place=length, content=content[:length]) for length in range(len(content))]
    batch = [*cut, Record(place=len(content), content=content, good=good)]
    rows = place(dataset, fetched(batch), Decoder(dataset.columns))
    check(batch, rows)
    assert rows["_kind"].to_list() == [specs.POISON] * len(cut) + [specs.EVENT]


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.text(alphabet='{}[]":,\\ud8eE+-.019nulltrefasNI \n\x00é😀', max_size=60).map(str.encode),
            st.tuples(
                st.randoms(use_true_random=False), st.binary(max_size=4), st.floats(0, 1), st.floats(0, 0.05)
            ).map(lambda drawn: _spliced(*drawn)),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 2**32),
)
@example([b'{"id": "a", "id": 5}'], 0)
def test_any_bytes_beside_good_messages(dataset: Dataset, contents: list[bytes], seed: int) -> None:
    rng = Random(seed)
    batch: list[Record] = []
    for content in contents:
        batch.append(Record(place=len(batch), content=content))
        good = hostile.good_values(rng, f"good-{len(batch)}")
        batch.append(Record(place=len(batch), content=hostile.render(rng, good), good=good))
    check(batch, place(dataset, fetched(batch), _DECODERS.setdefault(dataset.name, Decoder(dataset.columns))))


_DECODERS: dict[str, Decoder] = {}


def _spliced(rng: Random, more: bytes, at: float, width: float) -> bytes:
    """A good text with some of its bytes replaced."""
    content = hostile.render(rng, hostile.good_values(rng, "spliced"))
    first = int(at * len(content))
    return content[:first] + more + content[first + int(width * len(content)) :]


@pytest.mark.parametrize("sent_ms", [-1, 0, int(dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp() * 1000)])
def test_a_message_that_was_sent_long_before_its_event_is_poison_and_not_a_crash(
    dataset: Dataset, sent_ms: int
) -> None:
    rng = Random(SEED)
    good = hostile.good_values(rng, "a") | {"at": dt.datetime(2026, 1, 20, tzinfo=dt.UTC)}
    record = Record(place=0, content=hostile.render(rng, good), sent_ms=sent_ms)
    (row,) = place(dataset, fetched([record]), Decoder(dataset.columns)).to_dicts()
    assert (row["_kind"], row["_error"].split(":")[0]) == (specs.POISON, "at.horizon")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("stack", [0, 500])
def test_the_verdict_on_a_deep_message_does_not_depend_on_where_it_is_read(
    dataset: Dataset, opening: str, stack: int
) -> None:
    """A limit of Python's own would count the frames of the caller, and DuckDB has none."""
    if stack:

        def deeper(left: int) -> None:
            if left:
                deeper(left - 1)
            else:
                test_the_verdict_on_a_deep_message_does_not_depend_on_where_it_is_read(dataset, opening, 0)

        deeper(stack)
        return
    good = hostile.good_values(Random(1), "a") | {"text": "[" * 300, "level": 1, "place": None}
    good |= {"small": 1, "amount": Decimal(1), "ratio": 0.5, "flag": True, "day": dt.date(2026, 1, 1), "tags": ["a"]}
    content = hostile.render(Random(1), good)
    closing = "]" if opening == "[" else "}"
    depths = [1, 198, 199, 200, 900, 990, 1_100, 10_000]
    batch = [
        Record(place=number, content=content.rstrip()[:-1] + f', "more": {opening * n}0{closing * n}}}'.encode())
        for number, n in enumerate(depths)
    ]
    rows = place(dataset, fetched(batch), Decoder(dataset.columns))
    # The object itself is one level.
    assert rows["_kind"].to_list() == [specs.EVENT if n < 200 else specs.POISON for n in depths]
    assert set(rows["_error"].drop_nulls()) == {"payload.depth: nested too deeply"}
