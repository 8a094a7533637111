"""The customer dimension has the history of each customer, whatever the order and batching of changes."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.settings import PSEUDONYM_KEYS
from tests.unit.dimensions.shop import Change, Shop, change_message, moment

DAY = 24 * 60
Version = tuple[str, str, str, str, str, dt.datetime, dt.datetime | None, bool]


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterable[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PSEUDONYM_KEYS, f"a:{base64.b64encode(b'a' * 32).decode()}")
        yield


def history(changes: Iterable[Change]) -> list[Version]:
    """What the dimension must be, by walking through each customer's changes."""
    found: list[Version] = []
    told: dict[str, dict[int, Change]] = {}
    for change in changes:
        at = told.setdefault(change.customer, {})
        known = at.get(change.at)
        # Of one moment a delete counts, else the last region by name.
        if known is None or (known.region is not None and (change.region is None or change.region > known.region)):
            at[change.at] = change
    for customer, at in told.items():
        begun: int | None = None
        state: tuple[str, str] | None = None
        for minute, change in [*sorted(at.items()), (None, None)]:
            after = None if change is None or change.region is None else (change.region, change.segment)
            if after == state and change is not None:
                continue
            if begun is not None and state is not None:
                start, end = moment(begun), None if minute is None else moment(minute)
                name = f"{customer}|{round(start.timestamp() * 1_000_000)}"
                key = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:16]
                found.append((key, customer, *state, "DE", start, end, end is None))
            begun, state = minute, after
    return sorted(found)


def shop(folder: Path) -> Shop:
    return Shop.at(folder, datasets=["customers"], marts=["dim_customer"])


def rows(found: Shop) -> list[Version]:
    return found.gold("dim_customer").rows()


@st.composite
def batches(draw: st.DrawFn) -> list[list[Change]]:
    """Changes of two customers in any order, some twice, some of one moment, in any batches."""
    said = st.builds(
        lambda customer, at, region: Change(
            customer, at, region, "vip" if at % 2 else "consumer", f"{at}@example.org" if region else None
        ),
        st.sampled_from("ab"),
        st.sampled_from([0, 3, 8, DAY, DAY + 1, 2 * DAY]),
        st.sampled_from(["eu", "eu", "us", None]),
    )
    order = draw(st.lists(said, min_size=1, max_size=10))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=2)) | {0, len(order)})
    return [order[start:end] for start, end in itertools.pairwise(cuts)]


def test_any_order_and_batching_gives_the_same_dimension_keys_included() -> None:
    @settings(max_examples=8)
    @given(batches())
    def check(given_: list[list[Change]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = shop(Path(folder))
            offset = itertools.count()
            for index, batch in enumerate(given_):
                found.lakes["customers"].arrive(*(change_message(next(offset), change) for change in batch))
                if index % 2 == 0:
                    found.refine()
                    found.compute()
            found.refine()
            found.compute()
            expected = history(change for batch in given_ for change in batch)
            assert rows(found) == expected
            found.compute(afresh=True)
            assert rows(found) == expected

    check()


def test_an_out_of_order_change_goes_into_history_and_a_delete_ends_it(tmp_path: Path) -> None:
    found = shop(tmp_path)
    lake = found.lakes["customers"]
    lake.arrive(change_message(0, Change("a", 0, "eu")), change_message(1, Change("a", 20, "us")))
    found.refine()
    found.compute()
    (first, second) = rows(found)
    first, second = sorted((first, second), key=lambda row: row[5])
    assert (first[6], second[6]) == (moment(20), None)
    lake.arrive(change_message(2, Change("a", 10, "eu", "vip")), change_message(3, Change("a", 30, None)))
    found.refine()
    found.compute()
    assert sorted((row[2], row[3], row[5], row[6]) for row in rows(found)) == [
        ("eu", "consumer", moment(0), moment(10)),
        ("eu", "vip", moment(10), moment(20)),
        ("us", "consumer", moment(20), moment(30)),
    ]
    assert {first[0], second[0]} < {row[0] for row in rows(found)}
    assert not any(row[7] for row in rows(found))


def test_a_change_of_the_email_alone_begins_no_version_and_the_email_is_not_there(tmp_path: Path) -> None:
    found = shop(tmp_path)
    changes = [Change("a", at, "eu", email=f"{at}@example.org") for at in (0, 5, 9)]
    found.lakes["customers"].arrive(*(change_message(offset, change) for offset, change in enumerate(changes)))
    found.refine()
    found.compute()
    assert rows(found) == history(changes)
    assert len(rows(found)) == 1
    assert "email" not in found.gold("dim_customer").columns


def test_a_delete_without_a_version_makes_none(tmp_path: Path) -> None:
    found = shop(tmp_path)
    found.lakes["customers"].arrive(change_message(0, Change("a", 5, None)))
    found.refine()
    found.compute()
    assert rows(found) == []
    assert found.lakes["customers"].silver.rows().select(pl.len()).collect().item() == 1
