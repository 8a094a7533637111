"""A mart's rules are measured before anything is published: what breaks one is held, alone or with its batch."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.contract.diff import compare
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Mart
from dagster_project.contract.quality import Bound, TableRule
from dagster_project.definitions import build
from dagster_project.errors import ContractError
from dagster_project.lake.keys import Key
from dagster_project.refine import gold
from dagster_project.refine.audit import RefusedError, held
from dagster_project.refine.gold import Computed, compute
from dagster_project.refine.staleness import pending_gold
from dagster_project.settings import Settings
from tests.unit.lakes import CONTRACT, MART, SQL, Lake, reading, write_project

DAY = dt.date(2026, 1, 1)
EU, US = Key(DAY, "eu"), Key(DAY, "us")
NONE = Bound(operator="mustBe", values=(0,))
# Of no table partition the total may be more.
SMALL = TableRule(id="small", metric="sql", query="SELECT sum(total) FROM staged", bound=Bound(operator="mustBeLessThan", values=(10,)))  # fmt: skip


def ruled(lake: Lake, *rules: TableRule, **changes: Any) -> Lake:
    mart = replace(lake.mart, rules=rules, **changes)
    return replace(lake, catalog=replace(lake.catalog, marts=(mart,)))


def run(lake: Lake, *, afresh: bool = False) -> list[Computed]:
    return list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, afresh=afresh))


def waiting(lake: Lake, *, with_held: bool = False) -> list[Key]:
    return pending_gold(lake.mart, lake.tables(), catalog=lake.catalog, with_held=with_held)


def totals(lake: Lake) -> dict[str, int]:
    return dict(lake.gold.rows().select("region", "total").collect().iter_rows())


@pytest.fixture
def filled(lake: Lake) -> Lake:
    lake.arrive(reading(0, "a", level=1), reading(1, "b", region="us", level=5))
    lake.refine()
    lake.compute()
    return lake


def test_of_an_ap_mart_the_table_partition_that_breaks_a_rule_stays_as_it_was(filled: Lake) -> None:
    lake = ruled(filled, SMALL)
    lake.arrive(reading(2, "c", level=2), reading(3, "d", region="us", level=5))
    lake.refine()
    (done,) = run(lake)
    assert (done.rows, {key: [str(item) for item in found] for key, found in done.held.items()}) == (
        {EU: 1},
        {US: ["small: 10, must be less than 10"]},
    )
    assert totals(lake) == {"eu": 3, "us": 5}
    # It waits for other rows of Silver, and is told to be stale meanwhile.
    assert (waiting(lake), waiting(lake, with_held=True)) == (
        [],
        [US],
    )
    assert run(lake) == []
    assert held(lake.gold.cursors(), "small") == [US]
    lake.arrive(reading(4, "d", region="us", at=9, level=4))
    lake.refine()
    (done,) = run(lake)
    assert (done.rows, done.held) == ({US: 1}, {})
    assert totals(lake) == {"eu": 3, "us": 9}
    assert held(lake.gold.cursors(), "small") == []
    assert waiting(lake, with_held=True) == []


def test_of_a_cp_mart_nothing_of_the_batch_is_published(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = ruled(filled, SMALL, consistency="cp")
    lake.arrive(reading(2, "c", level=2), reading(3, "d", region="us", level=5))
    lake.refine()
    before = lake.gold.version
    for rows in (gold._ROWS, 1):  # in one portion, and with one for each table partition
        monkeypatch.setattr(gold, "_ROWS", rows)
        with pytest.raises(
            RefusedError, match=r"mart levels: 1 table partitions break a rule: 2026-01-01/us \(small: 10"
        ):
            run(lake)
        assert lake.gold.version == before
        assert waiting(lake) == [EU, US]
    lake.arrive(reading(4, "d", region="us", at=9, level=4))
    lake.refine()
    assert [done.rows for done in run(lake)] == [{EU: 1}, {US: 1}]
    assert totals(lake) == {"eu": 3, "us": 9}


def test_a_warning_is_only_counted(filled: Lake) -> None:
    lake = ruled(filled, replace(SMALL, severity="warning"), consistency="cp")
    lake.arrive(reading(3, "d", region="us", level=5))
    lake.refine()
    (done,) = run(lake)
    assert (done.rows, list(done.warnings), done.held) == ({US: 1}, [US], {})
    assert totals(lake) == {"eu": 1, "us": 10}


def test_a_rule_of_the_batch_is_measured_of_all_that_is_published_at_once(filled: Lake) -> None:
    lake = ruled(filled, replace(SMALL, scope="batch"))
    lake.arrive(reading(2, "c", level=2), reading(3, "d", region="us", level=3))
    lake.refine()
    (done,) = run(lake)
    assert (done.rows, set(done.held)) == ({}, {EU, US})
    assert totals(lake) == {"eu": 1, "us": 5}


def test_a_rule_may_look_at_the_inputs_of_its_own_table_partition(filled: Lake) -> None:
    query = "SELECT sum(readings) - (SELECT count(*) FROM silver.readings) FROM staged"
    lake = ruled(filled, TableRule(id="complete", metric="sql", query=query, bound=NONE))
    assert [done.held for done in run(lake, afresh=True)] == [{}]
    less = ruled(lake, *lake.mart.rules, sql=SQL.replace("count(*)", "count(*) FILTER (region = 'eu')"))
    assert [set(done.held) for done in run(less, afresh=True)] == [{US}]


def test_an_append_only_mart_grows_and_never_changes(filled: Lake) -> None:
    by_reading = "SELECT event_date, region, level AS readings, NULL::BIGINT AS total FROM silver.readings"
    key = ("event_date", "region", "readings")
    lake = ruled(filled, append_only=True, sql=by_reading, merge_key=key, name="each")
    run(lake)
    lake.arrive(reading(2, "c", level=2))
    lake.refine()
    assert [done.rows for done in run(lake)] == [{EU: 2}]
    # The level that was read first is another one by now, and a value that was null has come.
    for changed in (lake, replace_sql(lake, by_reading.replace("NULL::BIGINT", "1"))):
        lake.arrive(reading(lake.cursor.next[0], "a", at=lake.cursor.next[0], level=1 if changed is not lake else 7))
        lake.refine()
        (done,) = run(changed)
        assert [(finding.rule, finding.found) for finding in done.held[EU]] == [
            ("append_only", 1 if changed is lake else 2)
        ]
    assert sorted(lake.gold.rows().collect()["readings"]) == [1, 2, 5]


def replace_sql(lake: Lake, sql: str) -> Lake:
    return replace(lake, catalog=replace(lake.catalog, marts=(replace(lake.mart, sql=sql),)))


def test_what_is_held_back_is_not_materialized_and_its_check_stays_red(filled: Lake, tmp_path: Path) -> None:
    lake = ruled(filled, SMALL)
    own = Settings(home=tmp_path, project=tmp_path, lake_uri=lake.storage.uri, bootstrap_servers="")
    repository = build(lake.catalog, own).get_repository_def()
    asset = dg.AssetKey(["gold", "levels"])
    check = dg.AssetCheckKey(asset, "small")
    lake.arrive(reading(2, "c", level=2), reading(3, "d", region="us", level=5))
    with dg.DagsterInstance.ephemeral() as instance:

        def refined(region: str) -> dg.AssetCheckEvaluation | None:
            run = repository.get_job("refine_readings").execute_in_process(
                instance=instance, partition_key=f"2026-01-01|{region}"
            )
            assert run.success
            return instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check].evaluation

        for region, found in (("us", "small: 10, must be less than 10"), ("eu", "held back by an earlier run")):
            told = refined(region)
            assert told is not None
            assert not told.passed
            assert told.metadata["broken"].value == {"2026-01-01/us": found}
        assert instance.get_materialized_partitions(asset) == {"2026-01-01|eu"}
    assert totals(lake) == {"eu": 3, "us": 5}


QUALITY = """\
    quality:
      - {id: small, type: sql, query: "SELECT sum(total) FROM {object}", mustBeLessThan: 10}
      - id: whole
        metric: rowCount
        mustBeGreaterThan: 0
        severity: warning
        customProperties: [{property: scope, value: batch}]
team:"""
CP = "[event_date, region]}\n      - {property: consistency, value: cp}\n      - {property: appendOnly, value: true}"


def compiled(folder: Path, mart: str, dataset: str = CONTRACT) -> Mart:
    files = {"readings.odcs.yaml": dataset, "levels.odcs.yaml": mart, "levels.sql": SQL}
    return load_catalog(write_project(folder, files)).marts[0]


def test_a_contract_says_what_is_measured_and_what_a_broken_rule_means(tmp_path: Path) -> None:
    plain = compiled(tmp_path, MART)
    assert (plain.consistency, plain.append_only, plain.rules) == ("ap", False, ())
    mart = compiled(tmp_path, MART.replace("[event_date, region]}", CP).replace("team:", QUALITY))
    assert (mart.consistency, mart.append_only) == ("cp", True)
    assert mart.rules[0] == SMALL
    assert [(rule.id, rule.scope, rule.severity) for rule in mart.rules] == [
        ("small", "partition", "error"),
        ("whole", "batch", "warning"),
    ]
    changes = {change.path: change.verdict for change in compare(plain, mart)}
    assert changes == {
        "consistency": "additive",
        "serve": "additive",  # where all or nothing counts the cache is not asked unless the contract says so
        "append-only": "additive",
        "rule small": "breaking",
        "rule whole": "additive",
    }
    assert {change.path: change.verdict for change in compare(mart, plain)}["append-only"] == "breaking"


WRONG = {
    "consistency": (CP.replace("cp}", "ca}"), "team:", "cp (all of a batch or nothing) or ap"),
    "append-only": (CP.replace("true", "yes please"), "team:", "true or false"),
    "scope": (CP, QUALITY.replace("batch", "day"), "one of partition, batch"),
    "row rule": (CP, "    quality: [{id: a, type: custom, engine: platform, implementation: total > 0}]\nteam:", "metric: … or type: sql"),
    "name": (CP, QUALITY.replace("small", "append_only"), "another id"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_what_to_write_instead(tmp_path: Path, case: str) -> None:
    properties, quality, expected = WRONG[case]
    with pytest.raises(ContractError) as refused:
        compiled(tmp_path, MART.replace("[event_date, region]}", properties).replace("team:", quality))
    assert expected in refused.value.found


def test_a_dataset_has_no_rules_of_a_batch(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="scope 'batch'"):
        compiled(tmp_path, MART, CONTRACT.replace("team:", QUALITY.replace("total", "level")))
