"""From Silver on nobody meets a protected value: pseudonyms stand for it in keys, deletes and restated rows alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.accounting.contents import check_contents
from dagster_project.accounting.fates import fates
from dagster_project.accounting.snapshot import Snapshot
from dagster_project.contract.model import Catalog, Column, Constraints, DataType, SqlRule
from dagster_project.errors import ConfigurationError, ContractError, ExpiredError
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.refine.pseudonyms import Keyring
from dagster_project.refine.release import release
from dagster_project.refine.restate import restate
from dagster_project.settings import PSEUDONYM_KEYS
from tests.unit.lakes import Lake, Message, reading, tombstone

OLD, NEW = (f"{name}:{base64.b64encode(name.encode() * 32).decode()}" for name in ("a", "b"))
TEXT, NUMBER = DataType(kind="string"), DataType(kind="integer")
WHO = Column(
    name="who", type=TEXT, constraints=Constraints(min_length=3), protection="pseudonymise", pseudonym_domain="who"
)
PIN = Column(name="pin", type=NUMBER, protection="pseudonymise", pseudonym_domain="pin")
BORN = Column(name="born", type=DataType(kind="date"), protection="drop")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PSEUDONYM_KEYS, OLD)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=catalog, columns=columns(catalog))


def columns(catalog: Catalog, *, key: bool = True) -> tuple[Column, ...]:
    hidden = {"protection": "pseudonymise", "pseudonym_domain": "id"} if key else {}
    own = tuple(replace(column, **hidden) if column.name == "id" else column for column in catalog.datasets[0].columns)
    return (*own, WHO, PIN, BORN)


def event(offset: int, identity: str, **fields: Any) -> Message:
    """An event with the protected columns; `at`, `day`, `region` and `level` as of `reading`."""
    placed = {name: fields.pop(name) for name in ("at", "day", "region", "level") if name in fields}
    message = reading(offset, identity, **placed)
    assert message.payload is not None
    values = {"who": f"who-{identity}", "pin": 4711, "born": "1970-02-03", **fields}
    return replace(message, payload=json.dumps({**json.loads(message.payload), **values}).encode())


def pseudonym(text: str, domain: str) -> str:
    return Keyring.load().first.pseudonym(text, domain=domain)


def rows(lake: Lake) -> dict[str, Mapping[str, Any]]:
    found = lake.silver.rows().filter(~pl.col("_deleted")).collect().to_dicts()
    return {row["id"]: row for row in found}


def unaccounted(lake: Lake) -> list[str]:
    """What is wrong with the offsets' places, and with values, by the account's own parts."""
    tables = Snapshot.take(lake.dataset, storage=lake.storage, thorough=False)
    found = fates(lake.dataset, bronze=tables.bronze, silver=tables.silver, quarantine=tables.quarantine)
    differences = check_contents(lake.dataset, tables, topic=None, storage=lake.storage, bootstrap_servers="")
    return [*found.problems(), *differences]


def test_silver_has_pseudonyms_and_not_what_is_dropped(lake: Lake) -> None:
    lake.arrive(event(0, "a"), event(1, "b", who=None, pin=None))
    lake.refine()
    found = rows(lake)
    a, b = found[pseudonym("a", "id")], found[pseudonym("b", "id")]
    assert (a["who"], a["pin"], a["level"]) == (pseudonym("who-a", "who"), pseudonym("4711", "pin"), 1)
    assert (b["who"], b["pin"]) == (None, None)
    assert "born" not in a
    assert lake.bronze.rows().collect()["who"].to_list() == ["who-a", None]
    assert unaccounted(lake) == []


def test_a_protected_key_still_tells_versions_and_deletes(lake: Lake) -> None:
    lake.arrive(event(0, "a", level=1), event(1, "b", level=1), event(2, "c", level=1))
    lake.refine()
    lake.arrive(event(3, "a", at=5, level=2), tombstone(4, "b", at=9), event(5, "c", at=-5, level=9))
    lake.refine()
    found = rows(lake)
    assert {identity: row["level"] for identity, row in found.items()} == {
        pseudonym("a", "id"): 2,
        pseudonym("c", "id"): 1,
    }
    (mark,) = lake.silver.rows().filter("_deleted").collect().to_dicts()
    assert mark["id"] == pseudonym("b", "id")
    assert unaccounted(lake) == []


def test_rules_judge_the_clear_value_and_the_quarantine_keeps_it(lake: Lake) -> None:
    lake.arrive(event(0, "a", who="x"), event(1, "b"))
    lake.refine()
    assert set(rows(lake)) == {pseudonym("b", "id")}
    (row,) = lake.quarantine.rows().collect().to_dicts()
    assert row["_reasons"] == ["who.minLength"]
    assert b'"who": "x"' in row["_payload"]
    assert not {"who", "pin", "born", "id"} & row.keys()


def test_what_is_released_is_protected_like_all_else(lake: Lake) -> None:
    lake.arrive(event(0, "a", who="x"))
    lake.refine()
    lenient = tuple(replace(column, constraints=Constraints()) for column in lake.dataset.columns)
    lake.dataset = replace(lake.dataset, columns=lenient)
    assert sum(release(lake.dataset, storage=lake.storage).released.values()) == 1
    assert rows(lake)[pseudonym("a", "id")]["who"] == pseudonym("x", "who")
    assert unaccounted(lake) == []


def test_what_nobody_has_classified_stays_in_bronze(lake: Lake) -> None:
    lake.arrive(event(0, "a", mail="a@example.com"))
    lake.refine()
    assert lake.bronze.rows().collect()[specs.RESCUED].to_list() == ['{"mail": "a@example.com"}']
    assert rows(lake)[pseudonym("a", "id")][specs.RESCUED] is None


def test_a_column_that_the_contract_gains_is_filled_from_bronze(lake: Lake) -> None:
    lake.arrive(event(0, "a", mail="a@example.com", team="red"), event(1, "b", team="much too long"), event(2, "c"))
    lake.refine()
    mail = Column(name="mail", type=TEXT, protection="pseudonymise", pseudonym_domain="mail")
    team = Column(name="team", type=TEXT, constraints=Constraints(max_length=5))
    lake.dataset = replace(lake.dataset, columns=(*lake.dataset.columns, mail, team))
    assert sum(restate(lake.dataset, storage=lake.storage).values()) == 1
    found = rows(lake)
    assert (found[pseudonym("a", "id")]["mail"], found[pseudonym("a", "id")]["team"]) == (
        pseudonym("a@example.com", "mail"),
        "red",
    )
    assert found[pseudonym("b", "id")]["team"] is None  # it would break a rule now, and stays as it was
    assert found[pseudonym("b", "id")]["who"] == pseudonym("who-b", "who")
    assert restate(lake.dataset, storage=lake.storage) == {}


def test_an_older_contracts_run_carries_no_unknown_column_into_silver(lake: Lake) -> None:
    mail = Column(name="mail", type=TEXT, protection="pseudonymise", pseudonym_domain="mail")
    newer = replace(lake, dataset=replace(lake.dataset, columns=(*lake.dataset.columns, mail)))
    newer.arrive(event(0, "a", mail="a@example.com"))
    lake.refine()
    assert "mail" not in rows(lake)[pseudonym("a", "id")]
    newer.refine()
    assert rows(newer)[pseudonym("a", "id")]["mail"] == pseudonym("a@example.com", "mail")


def test_another_first_key_makes_all_pseudonyms_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.arrive(event(0, "a"), event(1, "b"), tombstone(2, "b", at=9))
    lake.refine()
    before = rows(lake)
    monkeypatch.setenv(PSEUDONYM_KEYS, f"{NEW},{OLD}")
    lake.arrive(event(3, "a", at=5, level=2))
    lake.refine()
    ((identity, row),) = rows(lake).items()
    assert identity == pseudonym("a", "id") not in before
    assert identity.startswith("b.")
    assert (row["level"], row["who"]) == (2, pseudonym("who-a", "who"))
    assert not any(
        str(value).startswith("a.") for row in lake.silver.rows().collect().to_dicts() for value in row.values()
    )
    assert unaccounted(lake) == []


def test_rows_that_bronze_has_no_longer_keep_their_pseudonyms(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    lake = Lake.at(tmp_path / "lake", catalog=catalog, columns=columns(catalog, key=False))
    lake.arrive(event(0, "a"), event(1, "b", day=2))
    lake.refine()
    old = rows(lake)
    bronze = lake.bronze
    empty = pl.DataFrame(schema=dict(bronze.spec.schema))
    bronze.commit(empty, remove=bronze.files().filter(pl.col("event_date").dt.day() == 1), cursors={})
    monkeypatch.setenv(PSEUDONYM_KEYS, f"{NEW},{OLD}")
    assert sum(restate(lake.dataset, storage=lake.storage).values()) == 1
    assert rows(lake)["a"] == old["a"]
    assert rows(lake)["b"]["who"] == pseudonym("who-b", "who") != old["b"]["who"]


def test_a_key_whose_rows_are_partly_gone_from_bronze_is_not_rotated(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    lake.arrive(event(0, "a"), event(1, "b", day=2))
    lake.refine()
    bronze, before = lake.bronze, lake.silver.version
    empty = pl.DataFrame(schema=dict(bronze.spec.schema))
    bronze.commit(empty, remove=bronze.files().filter(pl.col("event_date").dt.day() == 1), cursors={})
    monkeypatch.setenv(PSEUDONYM_KEYS, f"{NEW},{OLD}")
    with pytest.raises(ExpiredError, match="1 keys have pseudonyms of another secret than 'b'"):
        lake.refine()
    assert lake.silver.version == before


def test_a_column_that_is_classified_later_leaves_silvers_rows(lake: Lake) -> None:
    plain = tuple(
        replace(column, protection="", pseudonym_domain="") for column in lake.dataset.columns if column is not PIN
    )
    later = tuple(column for column in lake.dataset.columns if column is not PIN)
    lake.dataset = replace(lake.dataset, columns=plain)
    lake.arrive(event(0, "a"), event(1, "b", day=2))
    lake.refine()
    bronze = lake.bronze
    empty = pl.DataFrame(schema=dict(bronze.spec.schema))
    bronze.commit(empty, remove=bronze.files().filter(pl.col("event_date").dt.day() == 1), cursors={})
    lake.dataset = replace(lake.dataset, columns=later)
    lake.refine()
    found = rows(lake)
    for identity in ("a", "b"):
        row = found[pseudonym(identity, "id")]
        assert (row["who"], row["born"], row[specs.RESCUED]) == (pseudonym(f"who-{identity}", "who"), None, None)


def test_nothing_is_published_without_a_secret(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.arrive(event(0, "a"), event(1, "b", who="x"))
    monkeypatch.delenv(PSEUDONYM_KEYS)
    with pytest.raises(ConfigurationError, match=PSEUDONYM_KEYS):
        lake.refine()
    for spec in (specs.silver, specs.quarantine):
        table = Table.find(spec(lake.dataset), storage=lake.storage)
        assert table is None or table.files().is_empty()


def test_a_rule_that_fails_on_a_value_does_not_tell_it(lake: Lake) -> None:
    lake.dataset = replace(lake.dataset, rules=(SqlRule(id="odd", predicate="who::INTEGER > 0"),))
    lake.arrive(event(0, "a", who="unmistakable"))
    with pytest.raises(ContractError) as failed:
        lake.refine()
    assert "odd" in str(failed.value)
    assert "ConversionException" in str(failed.value)
    seen: BaseException | None = failed.value
    while seen is not None:
        assert "unmistakable" not in str(seen)
        assert seen.__suppress_context__ or seen.__context__ is None
        seen = seen.__cause__
