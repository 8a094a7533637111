"""What no message may have, however it came: each limit at its last lawful value and at the next one, and memory beside all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from dagster_project.contract.model import LARGEST_BYTES, Dataset
from dagster_project.ingest import avro_scanner, exact, scanner
from dagster_project.ingest.decode import Decoder
from dagster_project.settings import REPOSITORY
from dagster_project.topics import batches
from tests.unit.security import hostile

# Of a process, over all that is hostile: the largest batch, in pieces and joined, with what is made of it.
_MOST_MIB = 6 * batches.LARGEST_BYTES >> 20


@pytest.fixture(scope="module")
def probes() -> Dataset:
    return hostile.dataset()


def decoded(probes: Dataset, *payloads: bytes, largest: int = LARGEST_BYTES) -> list[dict[str, Any]]:
    return Decoder(probes.columns, largest=largest).decode(pl.Series(payloads, dtype=pl.Binary)).to_dicts()


def test_both_decoders_know_the_same_limits() -> None:
    assert (scanner.ITEMS, avro_scanner.ITEMS, scanner.MEMBERS) == (exact.MAX_ITEMS, exact.MAX_ITEMS, exact.MAX_MEMBERS)


def test_size(probes: Dataset) -> None:
    good = b'{"id":"a","text":"' + b"x" * 70 + b'"}'
    fits, larger, beside = decoded(probes, good, good + b" ", b'{"id":"b","more":1}', largest=len(good))
    assert (fits["id"], fits["_error"]) == ("a", None)
    assert (larger["id"], larger["_error"]) == (None, f"payload.size: more than {len(good)} bytes")
    assert (beside["id"], beside["_rescued"], beside["_error"]) == ("b", '{"more":1}', None)


@pytest.mark.parametrize("doubt", ["", ', "ratio": 1e+1'])
def test_elements_of_a_list(probes: Dataset, doubt: str) -> None:
    """By the scanner, and one by one where something else is doubtful."""
    texts = (json.dumps({"tags": ["t"] * count})[:-1] + doubt + "}" for count in (exact.MAX_ITEMS, exact.MAX_ITEMS + 1))
    fits, more = decoded(probes, *map(str.encode, texts))
    assert (len(fits["tags"]), fits["_error"]) == (exact.MAX_ITEMS, None)
    assert (more["tags"], more["_error"]) == (None, "tags.items: more than 100000 elements")


@pytest.mark.parametrize("doubt", ["", ', "ratio": 1e+1'])
def test_fields_that_the_contract_does_not_know(probes: Dataset, doubt: str) -> None:
    def text(count: int) -> bytes:
        return (json.dumps({f"f{number}": number for number in range(count)})[:-1] + doubt + "}").encode()

    fits, more = decoded(probes, text(exact.MAX_MEMBERS), text(exact.MAX_MEMBERS + 1))
    assert (len(json.loads(fits["_rescued"])), fits["_error"]) == (exact.MAX_MEMBERS, None)
    assert (more["_rescued"], more["_error"].split(":")[0]) == (None, "payload.members")


@pytest.mark.parametrize("text", ["1.{}", '"1.{}"'])
def test_digits_of_a_number(probes: Dataset, text: str) -> None:
    fits, exactly, more = decoded(
        probes, *(f'{{"amount":{text.format("0" * digits)}}}'.encode() for digits in (300, 398, 399))
    )
    assert (fits["amount"], exactly["amount"]) == (1, 1)
    assert more["_error"] is not None


def test_one_long_list_makes_no_room_in_the_next_batch(probes: Dataset) -> None:
    """As many elements for each of a hundred thousand messages would be more than any machine has."""
    decoder = Decoder(probes.columns)
    decoder.decode(pl.Series([json.dumps({"tags": ["t"] * exact.MAX_ITEMS}).encode()], dtype=pl.Binary))
    rows = decoder.decode(pl.Series([b'{"tags":["a","b"]}'] * 100_000, dtype=pl.Binary))
    assert rows["tags"].list.len().unique().to_list() == [2]


def test_nothing_hostile_takes_more_than_its_share_of_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.security.hostile"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    found: list[Mapping[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(hostile.BOMBS) + len(hostile.MESSAGES) + 1
    assert max(line["most_mib_so_far"] for line in found) < _MOST_MIB, done.stdout
