"""A contract drafted from sample messages is valid, is kept by these messages, and says what it guessed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.contract.draft import Choice, Draft, draft
from dagster_project.contract.dtypes import describe
from dagster_project.contract.loader import load_catalog, load_contract
from dagster_project.contract.model import Column, Dataset
from dagster_project.contract.sample import read_messages
from dagster_project.errors import ContractError
from dagster_project.ingest.decode import ERROR, Decoder
from dagster_project.quality.gate import judge
from dagster_project.settings import REPOSITORY
from dagster_project.sources.flights import Flights

COUNT = 60


def message(number: int) -> dict[str, Any]:
    return {
        "order_id": f"o-{number}",
        "placed": "2026-03-01",
        "event_time": f"2026-03-0{2 + number % 2}T10:00:{number % 60:02d}+02:00",
        "region": ("eu", "us")[number % 2],
        "shop": "downtown",
        "session": f"0b0e9b1c-93a5-4b2f-9c60-2ad1c2d3e4{number:02d}",
        "amount": number + 0.5,
        "weight": number / 3,
        "balance": number - 10,
        "gift": number % 2 == 0,
        "note": None if number % 3 else 'say "hi"',
        "tags": ["a", "b"][: number % 3],
        "lines": [{"sku": f"S-{number}", "quantity": 1 + number % 5, "unit_price": 1.25}],
        "customer": {"name": f"n{number}", "since": "2020-02-29"},
        "never": None,
        "mixed": number if number % 2 else "text",
        "bad name": 1,
    }


LINES = [json.dumps(message(number)) for number in range(COUNT)]
SAMPLE = read_messages(LINES)


def compiled(folder: Path, found: Draft, name: str = "sales") -> Dataset:
    path = folder / f"{name}.odcs.yaml"
    path.write_text(found.text, encoding="utf-8")
    dataset = load_contract(path)
    assert isinstance(dataset, Dataset)
    return dataset


@pytest.fixture(scope="module")
def found() -> Draft:
    return draft("sales", SAMPLE, choice=Choice())


def test_types_requirements_and_roles(tmp_path: Path, found: Draft) -> None:
    dataset = compiled(tmp_path, found)
    assert {column.name: (describe(column.type), column.required) for column in dataset.columns} == {
        "order_id": ("string", True),
        "placed": ("date", True),
        "event_time": ("timestamp", True),
        "region": ("string", True),
        "shop": ("string", True),
        "session": ("string", True),
        "amount": ("decimal(18, 2)", True),
        "weight": ("double", True),
        "balance": ("decimal(18, 2)", True),
        "gift": ("boolean", True),
        "note": ("string", False),
        "tags": ("list<string>", True),
        "lines": ("list<struct<sku string, quantity bigint, unit_price decimal(18, 2)>>", True),
        "customer": ("struct<name string, since date>", True),
    }
    assert (dataset.merge_key, dataset.event_time) == (("order_id",), "event_time")
    assert (dataset.region, dataset.regions, str(dataset.start_date)) == ("region", ("eu", "us"), "2026-03-02")
    assert dataset.column("balance").constraints.minimum is None
    assert dataset.column("amount").constraints.minimum == 0


def test_what_is_guessed_or_left_out_is_said(found: Draft) -> None:
    said = {(guess.path, guess.guess) for guess in found.guesses}
    assert said >= {
        ("region", "one of eu, us"),
        ("note", "optional"),
        ("amount", "decimal(18, 2)"),
        ("weight", "double"),
        ("never", "left out"),
        ("mixed", "left out"),
        ("bad name", "left out"),
        ("event time", "event_time"),
        ("region", "region"),
        ("key", "order_id"),
        ("start date", "2026-03-02"),
    }
    assert all(guess.because for guess in found.guesses)


def test_every_bound_of_the_draft_is_said(tmp_path: Path, found: Draft) -> None:
    said = {(guess.path, guess.guess.partition(" of ")[0]) for guess in found.guesses}
    bounds = {("region", "one"), *bounded(compiled(tmp_path, found).columns, "")}

    assert ("lines[].quantity", "at least 0") in bounds
    assert bounds <= said


def bounded(columns: Iterable[Column], within: str) -> Iterator[tuple[str, str]]:
    for column in columns:
        path = within + column.name
        if column.constraints.minimum is not None:
            yield path, f"at least {column.constraints.minimum}"
        if column.constraints.enum:
            yield path, "one"
        element = column.type.element
        yield from bounded(element.fields if element else column.type.fields, f"{path}[]." if element else f"{path}.")


def kept(dataset: Dataset, payloads: list[bytes]) -> pl.DataFrame:
    """The rows, if no message is poison or breaks a rule."""
    rows = Decoder(dataset.columns).decode(pl.Series(payloads, dtype=pl.Binary))
    assert rows[ERROR].drop_nulls().to_list() == []
    verdict = judge(dataset, rows.drop(ERROR))
    assert verdict.bad["_reasons"].to_list() == []
    return verdict.good


def test_the_sample_keeps_its_contract(tmp_path: Path, found: Draft) -> None:
    dataset = compiled(tmp_path, found)
    rows = kept(dataset, [line.encode() for line in LINES])
    assert rows.n_unique(dataset.merge_key) == COUNT


def test_flights_keep_the_contract_of_their_first_five_thousand(tmp_path: Path) -> None:
    own = load_catalog(REPOSITORY / "contracts").dataset("flights")
    payloads = [event.value or b"" for event in islice(Flights(dataset=own), 20_000)]
    drafted = draft("departures", read_messages(line.decode() for line in payloads[:5_000]), choice=Choice())
    dataset = compiled(tmp_path, drafted, "departures")
    rows = kept(dataset, payloads)
    assert rows.n_unique(dataset.merge_key) == len(payloads)
    assert (dataset.region, dataset.event_time) == ("origin", "scheduled_departure")


def test_a_person_may_choose(tmp_path: Path) -> None:
    choice = Choice(key=("session", "event_time"), event_time="event_time", region="region")
    dataset = compiled(tmp_path, draft("sales", SAMPLE, choice=choice))
    assert dataset.merge_key == ("session", "event_time")
    with pytest.raises(ContractError, match="'note' cannot be it"):
        draft("sales", SAMPLE, choice=Choice(key=("note",)))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "holds no message"),
        (["", '{"a": 1'], "line 2 of the sample is no JSON"),
        (['{"a": NaN}'], "line 1 of the sample is no JSON: NaN"),
        (["[1]"], "line 1 of the sample is array, no object"),
        (['{"a": 1}'], "no column can be the event time"),
        (['{"at": "2026-01-01T00:00:00Z", "region": "eu"}'], "no column can be the region"),
    ],
)
def test_a_sample_that_tells_too_little_is_refused(lines: list[str], complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint) as refused:
        draft("sales", read_messages(lines), choice=Choice())
    assert refused.value.remedy


def test_messages_that_nothing_tells_apart_need_a_key_from_a_person() -> None:
    same = read_messages(f'{{"at": "2026-01-01T00:00:00Z", "region": "eu", "heat": {n}.5}}' for n in range(COUNT))
    with pytest.raises(ContractError, match="no 4 columns tell the 60 messages apart"):
        draft("sales", same, choice=Choice())


def test_the_command_writes_a_contract_once(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    sample = tmp_path / "sample.ndjson"
    sample.write_text("\n".join(LINES), encoding="utf-8")

    def new(name: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "dagster_project.cli.main",
            "contract",
            "new",
            name,
            "--from",
            str(sample),
            "--json",
        ]
        environment = {"LAKEHOUSE_PROJECT": str(tmp_path), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    answer = new("sales")
    assert answer.returncode == 0, answer.stderr
    assert {guess["path"] for guess in json.loads(answer.stdout)["guesses"]} >= {"key", "region", "event time"}
    before = (tmp_path / "contracts" / "sales.odcs.yaml").read_bytes()
    again = new("sales")
    assert again.returncode == 1
    assert "there is a contract" in again.stderr
    assert (tmp_path / "contracts" / "sales.odcs.yaml").read_bytes() == before
    wrong = new("No-Name")
    assert wrong.returncode == 1
    assert [path.name for path in (tmp_path / "contracts").iterdir()] == ["sales.odcs.yaml"]
