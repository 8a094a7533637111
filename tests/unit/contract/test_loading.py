"""Contracts are read with all that is wrong in them named at once, by file, line and path, with what to write instead."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import MartInput, Slo, SqlRule
from dagster_project.contract.quality import Statistic
from dagster_project.errors import ContractError
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

DATASET, TABLE = "readings.odcs.yaml", "levels.odcs.yaml"


def line_of(text: str, piece: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if piece in line)


def refusal(folder: Path, files: dict[str, str]) -> str:
    with pytest.raises(ContractError) as refused:
        load_catalog(write_project(folder, files))
    assert "run the command again" in refused.value.remedy
    return refused.value.found


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_the_projects_own_contracts_load() -> None:
    catalog = load_catalog(REPOSITORY / "contracts")
    orders = catalog.dataset("orders")
    assert orders.merge_key == ("order_id",)
    assert (orders.event_time, orders.partition_time, orders.stable_partitions) == ("event_time", "ordered_at", True)
    assert orders.regions == ("eu", "us", "apac")
    assert (orders.topic.name, orders.topic.partitions, orders.topic.retention) == (
        "commerce.orders.v1",
        8,
        dt.timedelta(days=7),
    )
    assert (orders.slo.freshness, orders.slo.latency) == (dt.timedelta(hours=1), dt.timedelta(minutes=5))
    assert [rule.id for rule in orders.rules] == ["event_not_before_order"]
    assert orders.column("items").type.kind == "list"
    assert "revenue_daily" in {mart.name for mart in catalog.marts_of("orders")}
    with pytest.raises(ContractError, match="no dataset 'order'"):
        catalog.dataset("order")


AT = "{name: at, logicalType: timestamp, required: true}"
LEVEL = "{name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}"
KEY = "{name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}"
REGION = "{name: region, logicalType: string, required: true, partitioned: true, enum: [{value: eu}, {value: us}]}"
EVENT_TIME = "{property: eventTime, value: at}"
COLUMNS = "schema[0].properties"


def quality(item: str) -> tuple[str, str]:
    """The contract with one quality item."""
    return "team:", f"    quality:\n      - {{{item}}}\nteam:"


def statistic(implementation: str) -> tuple[str, str]:
    """The contract with one statistical rule."""
    return quality(f"id: r, type: custom, engine: platform, implementation: {{{implementation}}}")


# What is changed, into what; the piece that is on the line to be named (empty: the last line that exists of the path);
# path, what was found, and what to write instead.
WRONG = {
    "typing error": (AT, AT.replace("required", "requird"), "requird", f"{COLUMNS}[1].requird", "no field of the standard", "a field of ODCS v3"),
    "logical type": (LEVEL, "{name: level, logicalType: int}", "name: level", f"{COLUMNS}[4].logicalType", "'int'", "one of string, date, timestamp"),
    "missing field": ("version: 1.0.0\n", "", "apiVersion", "the document", "'version' is missing", "version: …"),
    "wrong json type": (AT, AT.replace("true", '"yes"'), "name: at", f"{COLUMNS}[1].required", "yes", "a value of type boolean"),
    "custom property": (EVENT_TIME, "{property: eventTme, value: at}", "eventTme", "schema[0].customProperties[0].property", "'eventTme'", "'eventTime'"),
    "unheard-of property": (EVENT_TIME, EVENT_TIME + "\n      - {property: zzz, value: 1}", "zzz", "schema[0].customProperties[1].property", "'zzz'", "one of eventTime, "),
    "no key": (KEY, "{name: id, logicalType: string, required: true}", "- {name: id", COLUMNS, "no primary key", "primaryKey: true on at least one property"),
    "key twice": (AT, AT[:-1] + ", primaryKey: true, primaryKeyPosition: 1}", "- {name: id", COLUMNS, "two key columns at one position", "primaryKeyPosition: 1, 2, …"),
    "optional key": (KEY, KEY.replace("required: true, ", ""), "- {name: id", COLUMNS, "'id' is optional", "required: true, as a key or region must be"),
    "no region enum": (REGION, REGION.replace(", enum: [{value: eu}, {value: us}]", ""), "- {name: id", COLUMNS, "no region", "an enum on exactly one string property"),
    "region type": (REGION, REGION.replace("string", "integer").replace("{value: eu}, {value: us}", "{value: 1}"), "- {name: id", COLUMNS, "no region", "on exactly one string property"),
    "region name": (REGION, REGION.replace("{value: eu}", '{value: "e/u"}'), "- {name: id", COLUMNS, "region 'e/u'", "letters, digits, '_', '.' and '-' only"),
    "reserved prefix": (LEVEL, LEVEL.replace("level", "_level"), "- {name: id", COLUMNS, "'_level'", "another name: this one is the platform's own"),
    "reserved name": (LEVEL, LEVEL.replace("level", "event_date"), "- {name: id", COLUMNS, "'event_date'", "another name: this one is the platform's own"),
    "column name": (LEVEL, LEVEL.replace("level", "le-vel"), "le-vel", f"{COLUMNS}[4].name", "'le-vel'", "letters, digits and _, starting with a letter"),
    "column twice": (LEVEL, LEVEL.replace("level", "AT"), "name: AT", f"{COLUMNS}[4].name", "a second column 'at'", "names that differ in more than case"),
    "dataset name": ("- name: readings", "- name: Readings", "- name: Readings", "schema[0].name", "'Readings'", "lower-case letters"),
    "topic name": ("physicalName: test.readings", 'physicalName: "test readings"', "physicalName", "schema[0].physicalName", "'test readings'", "the Kafka topic's name"),
    "physical type": ("physicalType: topic", "physicalType: queue", "physicalType", "schema[0].physicalType", "'queue'", "topic (a dataset) or table (a mart)"),
    "no server": ("type: kafka", "type: custom", "- server", "servers", "0 Kafka servers", "exactly one server of type kafka"),
    "format": ("format: json", "format: xml", "format: xml", "servers[0].format", "'xml'", "json"),
    "event time": (EVENT_TIME, "{property: eventTime, value: level}", "- {property: eventTime", "schema[0].customProperties", "eventTime 'level'", "the name of a required timestamp property"),
    "duration": ("PT10M", "10 minutes", "- {property: eventTime", "schema[0].customProperties", "'10 minutes'", "a positive ISO 8601 duration, such as PT10M or P7D"),
    "no duration": ("PT10M", "PT0S", "- {property: eventTime", "schema[0].customProperties", "'PT0S'", "a positive ISO 8601 duration"),
    "start date": ('"2026-01-01"', '"2026-13-01"', "- {property: eventTime", "schema[0].customProperties", "startDate '2026-13-01'", 'the first day of data, such as "2026-01-01"'),
    "write mode": ("upsert", "overwrite", "- {property: eventTime", "schema[0].customProperties", "writeMode 'overwrite'", "append, upsert or history"),
    "decimal": (LEVEL, '{name: level, logicalType: number, physicalType: "decimal(10, 11)"}', "name: level", f"{COLUMNS}[4].physicalType", "decimal(10, 11)", "decimal(p, s) with 0 <= s <= p <= 38"),
    "number type": (LEVEL, "{name: level, logicalType: number, physicalType: money}", "name: level", f"{COLUMNS}[4].physicalType", "money", "decimal(p, s) for exact values, or double"),
    "pattern": (LEVEL, "{name: level, logicalType: string, logicalTypeOptions: {pattern: '(?=a)b'}}", "name: level", f"{COLUMNS}[4].logicalTypeOptions.pattern", "'(?=a)b'", "without look-around or back-references"),
    "text format": (LEVEL, "{name: level, logicalType: string, logicalTypeOptions: {format: email}}", "name: level", f"{COLUMNS}[4].logicalTypeOptions.format", "'email'", "one of uuid, or a pattern"),
    "bounds": (LEVEL, "{name: level, logicalType: integer, logicalTypeOptions: {minimum: 2, maximum: 1}}", "name: level", f"{COLUMNS}[4].logicalTypeOptions.minimum", "2 > 1", "minimum <= maximum"),
    "lengths": (LEVEL, "{name: level, logicalType: string, logicalTypeOptions: {minLength: 2, maxLength: 1}}", "name: level", f"{COLUMNS}[4].logicalTypeOptions.minLength", "2 > 1", "minLength <= maxLength"),
    "enum of another type": (LEVEL, "{name: level, logicalType: integer, enum: [{value: 1}, {value: high}]}", "name: level", f"{COLUMNS}[4].enum", "'high' in the enum of type integer", "values of type integer"),
    "element rule": (LEVEL, "{name: level, logicalType: array, items: {logicalType: integer, logicalTypeOptions: {minimum: 0}}}", "name: level", f"{COLUMNS}[4].items", "rules on the elements of a list", "an SQL rule"),
    "key of YAML twice": (LEVEL, "{name: level, logicalType: integer, logicalType: string}", "name: level", f"{COLUMNS}[4].logicalType", "the same key again", "each key once"),
    "multiple of a double": (LEVEL, "{name: level, logicalType: number, logicalTypeOptions: {multipleOf: 0.1}}", "name: level", f"{COLUMNS}[4].logicalTypeOptions.multipleOf", "multipleOf on a double", "decimal(p, s), or an integer"),
    "future of a number": (LEVEL, "{name: level, logicalType: integer, customProperties: [{property: notInFuture, value: PT5M}]}", "name: level", f"{COLUMNS}[4].customProperties[0]", "notInFuture on a integer", "a timestamp or date"),
    "future without end": (AT, AT[:-1] + ", customProperties: [{property: notInFuture, value: soon}]}", "name: at", f"{COLUMNS}[1].customProperties[0].value", "'soon'", "such as PT5M or PT0S"),
    "custom property of a column": (AT, AT[:-1] + ", customProperties: [{property: future, value: PT5M}]}", "name: at", f"{COLUMNS}[1].customProperties[0].property", "'future'", "'notInFuture'"),
    "breaker": ("PT10M}", "PT10M}\n      - {property: breakerBadRate, value: 20}", "- {property: eventTime", "schema[0].customProperties", "breakerBadRate 20", "a share between 0 and 1"),
    "horizon": ("PT10M}", "PT10M}\n      - {property: latenessHorizon, value: PT5M}", "- {property: eventTime", "schema[0].customProperties", "latenessHorizon 'PT5M'", "no less than the allowed lateness"),
    "beyond": ("PT10M}", "PT10M}\n      - {property: beyondHorizon, value: drop}", "- {property: eventTime", "schema[0].customProperties", "beyondHorizon 'drop'", "keep or quarantine"),
    "beyond nothing": ("PT10M}", "PT10M}\n      - {property: beyondHorizon, value: quarantine}", "- {property: eventTime", "schema[0].customProperties", "beyondHorizon 'quarantine' of no horizon", "latenessHorizon beside it"),
    "idle": ("PT10M}", "PT10M}\n      - {property: idleAfter, value: 10}", "- {property: eventTime", "schema[0].customProperties", "10", "a positive ISO 8601 duration"),
    "statistic": (*statistic("median: {}"), "median", "schema[0].quality[0].implementation", "{'median': {}}", "an SQL predicate, or one of {volume: {weeks"),
    "two statistics": (*statistic("volume: {atMost: 2}, nullDrift: {column: level, atMost: 1}"), "volume", "schema[0].quality[0].implementation", "{'volume'", "one of {volume"),
    "option of a statistic": (*statistic("volume: {atmost: 2}"), "atmost", "schema[0].quality[0].implementation.volume.atmost", "'atmost'", "'atMost'"),
    "statistic without bound": (*statistic("volume: {weeks: 3}"), "volume", "schema[0].quality[0].implementation.volume", "no bound", "atLeast"),
    "statistic of no column": (*statistic("nullDrift: {atMost: 0.1}"), "nullDrift", "schema[0].quality[0].implementation.nullDrift.column", "nullDrift without column", "column: …"),
    "statistic of another column": (*statistic("nullDrift: {column: levl, atMost: 0.1}"), "levl", "schema[0].quality[0].implementation.nullDrift.column", "'levl'", "the name of a property"),
    "weeks of a statistic": (*statistic("volume: {weeks: 0, atMost: 2}"), "weeks", "schema[0].quality[0].implementation.volume.weeks", "0", "a whole number of at least 1"),
    "share of a statistic": (*statistic("volume: {atMost: many}"), "atMost", "schema[0].quality[0].implementation.volume.atMost", "'many'", "a share"),
    "reference to no dataset": (*statistic("references: {column: level, dataset: meters, key: level}"), "id: r,", "schema[0].quality", "rule 'r' refers to meters.level, which is not there", "a dataset of this project"),
    "reference to another type": (*statistic("references: {column: level, dataset: readings, key: id}"), "id: r,", "schema[0].quality", "rule 'r' refers to readings.id, which is string", "a column of it of type"),
    "rule without id": (*quality("metric: rowCount, mustBe: 1"), "metric: rowCount", "schema[0].quality[0]", "a rule without id", "id: …"),
    "rule twice": (*quality("id: r, metric: rowCount, mustBe: 1}\n      - {id: r, metric: rowCount, mustBe: 2"), "mustBe: 2", "schema[0].quality[1]", "a second rule 'r'", "another id"),
    "rule in words": (*quality("id: r, type: text, description: good"), "type: text", "schema[0].quality[0]", "a rule of type 'text'", "type: library, sql or custom"),
    "another engine": (*quality("id: r, type: custom, engine: soda, implementation: x"), "engine: soda", "schema[0].quality[0]", "a custom rule of engine 'soda'", "engine: platform"),
    "column of no rule": (*quality("id: r, metric: nullValues, mustBe: 0"), "nullValues", "schema[0].quality[0]", "nullValues of a property that is not there", "a rule at the property"),
    "column that is not there": (*quality("id: r, metric: duplicateValues, arguments: {properties: [id, no]}, mustBe: 0"), "duplicateValues", "schema[0].quality[0]", "duplicateValues of a property that is not there", "properties: [<names>]"),
    "argument": (*quality("id: r, metric: rowCount, arguments: {min: 1}, mustBe: 1"), "rowCount", "schema[0].quality[0]", "argument 'min' of rowCount", "arguments of it: none"),
    "rows in percent": (*quality("id: r, metric: rowCount, unit: percent, mustBe: 1"), "rowCount", "schema[0].quality[0]", "rowCount in percent", "unit: rows"),
    "bound in words": (*quality("id: r, metric: rowCount, mustBe: many"), "rowCount", "schema[0].quality[0]", "no bound", "mustBeBetween"),
    "anything is valid": (LEVEL, LEVEL[:-1] + ", quality: [{id: r, metric: invalidValues, mustBe: 0}]}", "name: level", f"{COLUMNS}[4].quality[0]", "invalidValues without arguments", "validValues"),
    "pattern of a number": (LEVEL, LEVEL[:-1] + ", quality: [{id: r, metric: invalidValues, arguments: {pattern: x}, mustBe: 0}]}", "name: level", f"{COLUMNS}[4].quality[0]", "pattern 'x'", "on a string property"),
    "no element": (LEVEL, "{name: level, logicalType: array}", "name: level", f"{COLUMNS}[4].logicalType", "'array'", "items: {logicalType: …}"),
    "no fields": (LEVEL, "{name: level, logicalType: object}", "name: level", f"{COLUMNS}[4].logicalType", "'object'", "properties: [{name: …}]"),
    "unit": ("team:", "slaProperties:\n  - {property: freshness, value: 1, unit: m}\nteam:", "unit: m", "slaProperties[0].unit", "'m'", "seconds, minutes, hours or days, spelt out"),
    "sla value": ("team:", "slaProperties:\n  - {property: freshness, value: 0, unit: hours}\nteam:", "value: 0", "slaProperties[0].value", "0", "a positive number"),
    "sla name": ("team:", "slaProperties:\n  - {property: freshnes, value: 1, unit: hours}\nteam:", "freshnes,", "slaProperties[0].property", "'freshnes'", "'freshness'"),
    "sla percentile": ("team:", "slaProperties:\n  - {property: latencyP99, value: 1, unit: hours}\nteam:", "latencyP99", "slaProperties[0].property", "'latencyP99'", "'latency'"),
    "sla share unit": ("team:", "slaProperties:\n  - {property: completeness, value: 0.99, unit: share}\nteam:", "completeness", "slaProperties[0].unit", "'share'", "percent"),
    "sla share": ("team:", "slaProperties:\n  - {property: availability, value: 100, unit: percent}\nteam:", "availability", "slaProperties[0].value", "100", "a percentage above 0 and below 100, such as 99.5"),
    "sla records": ("team:", "slaProperties:\n  - {property: lagRecords, value: 0.5, unit: records}\nteam:", "lagRecords", "slaProperties[0].value", "0.5", "a whole number of at least 1"),
    "sla window": ("team:", "slaProperties:\n  - {property: budgetWindow, value: 90, unit: days}\nteam:", "- {property: budgetWindow", "slaProperties", "budgetWindow 90 days", "3 to 35 days"),
    "sla order": ("team:", "slaProperties:\n  - {property: latencyP50, value: 10, unit: minutes}\nteam:", "- {property: latencyP50", "slaProperties", "latencyP50 0:10:00", "bounds that do not fall"),
    "sla twice": ("team:", "slaProperties:\n  - {property: lag, value: 1, unit: hours}\n  - {property: lag, value: 2, unit: hours}\nteam:", "value: 2", "slaProperties[1].property", "'lag' again", "each service level once"),
    "priority": (EVENT_TIME, EVENT_TIME + "\n      - {property: priority, value: urgent}", "- {property: eventTime", "schema[0].customProperties", "priority 'urgent'", "low, normal or high"),
    "shards": (EVENT_TIME, EVENT_TIME + "\n      - {property: shards, value: 2}", "- {property: eventTime", "schema[0].customProperties", "2 shards of 1 Kafka partitions", "from 1 to 1"),
    "no shards": (EVENT_TIME, EVENT_TIME + "\n      - {property: shards, value: 0}", "- {property: eventTime", "schema[0].customProperties", "0", "a whole number of at least 1"),
    "no team": ("team:\n  name: testers\n", "", "apiVersion", "team", "no team", "team: {name: …}"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_place_and_its_remedy(tmp_path: Path, case: str) -> None:
    old, new, piece, path, found, expected = WRONG[case]
    text = changed(CONTRACT, old, new)
    lines = refusal(tmp_path, {DATASET: text}).splitlines()
    heads = [
        index
        for index, line in enumerate(lines)
        if line.startswith(f"{tmp_path / DATASET}:{line_of(text, piece)}: {path}: ")
    ]
    assert any(found in lines[index] and expected in lines[index + 1] for index in heads), lines


MART_WRONG = {
    "no sql": (MART, None, "the document", "no SQL in", "a SELECT that yields event_date, region, readings, total"),
    "empty sql": (MART, " ;\n", "the document", "no SQL in", "a SELECT that yields"),
    "input": (MART.replace("[readings]", "[reading]"), SQL, "schema[0].customProperties", "inputs ['reading']", "a list of datasets that have a contract (readings)"),
    "no input": (MART.replace("[readings]", "[]"), SQL, "schema[0].customProperties", "inputs []", "a list of datasets"),
    "partitions": (MART.replace("[event_date, region]", "[region]"), SQL, "schema[0].customProperties", "partitionedBy ['region']", "[event_date, region] or [event_date]"),
    "key": (MART.replace("primaryKey: true, primaryKeyPosition: 2", "primaryKey: false"), SQL, "schema[0].customProperties", "key ['event_date']", "a primary key that contains ['event_date', 'region']"),
}  # fmt: skip


@pytest.mark.parametrize("case", MART_WRONG)
def test_what_is_wrong_with_a_mart(tmp_path: Path, case: str) -> None:
    text, sql, path, found, expected = MART_WRONG[case]
    files = {DATASET: CONTRACT, TABLE: text, **({} if sql is None else {"levels.sql": sql})}
    message = refusal(tmp_path, files)
    head, remedy = message.splitlines()
    assert head.startswith(f"{tmp_path / TABLE}:")
    assert f": {path}: {found}" in head
    assert expected in remedy


@pytest.mark.parametrize(
    ("change", "field", "name"),
    [
        (("physicalName: test.readings", "physicalName: test.others"), "name", "'readings'"),
        (("- name: readings", "- name: others"), "physicalName", "'test.readings'"),
    ],
)
def test_a_name_and_a_topic_belong_to_one_contract(
    tmp_path: Path, change: tuple[str, str], field: str, name: str
) -> None:
    files = {DATASET: CONTRACT, "second.odcs.yaml": changed(CONTRACT, *change)}
    message = refusal(tmp_path, files)
    assert message.startswith(f"{tmp_path / 'second.odcs.yaml'}:")
    assert f"schema[0].{field}: {name} is already taken by {tmp_path / DATASET}" in message


def test_two_marts_of_one_name(tmp_path: Path) -> None:
    files = {DATASET: CONTRACT, TABLE: MART, "levels.sql": SQL, "more.odcs.yaml": MART, "more.sql": SQL}
    assert "schema[0].name: 'levels' is already taken by" in refusal(tmp_path, files)


def test_inputs_of_one_mart_share_their_regions(tmp_path: Path) -> None:
    other = changed(changed(CONTRACT, "readings", "others"), "{value: us}", "{value: apac}")
    mart = changed(MART, "[readings]", "[readings, others]")
    files = {DATASET: CONTRACT, "others.odcs.yaml": other, TABLE: mart, "levels.sql": SQL}
    assert "inputs ['readings', 'others'] of different regions" in refusal(tmp_path, files)


def test_what_is_no_contract_at_all(tmp_path: Path) -> None:
    write_project(tmp_path, {"a.odcs.yaml": "x: [1\ny: 2", "b.odcs.yaml": "- 1", "d.odcs.yaml": ""})
    (tmp_path / "c.odcs.yaml").write_bytes(b"id: \xff")
    with pytest.raises(ContractError) as refused:
        load_catalog(tmp_path)
    message = refused.value.found
    assert f"{tmp_path / 'a.odcs.yaml'}:2: the document: not YAML: " in message
    assert f"{tmp_path / 'b.odcs.yaml'}:1: the document: no mapping" in message
    assert f"{tmp_path / 'c.odcs.yaml'}:1: the document: not UTF-8 (invalid start byte)" in message
    assert f"{tmp_path / 'd.odcs.yaml'}:1: the document: no mapping" in message


def test_all_problems_of_all_datasets_are_named_at_once(tmp_path: Path) -> None:
    first = changed(
        changed(changed(CONTRACT, "PT10M", "soon"), "upsert", "merge"), KEY, KEY.replace(", primaryKey: true", "")
    )
    second = changed(changed(CONTRACT, "- name: readings", "- name: others"), AT, AT.replace("required", "requird"))
    message = refusal(tmp_path, {DATASET: first, "others.odcs.yaml": second})
    for found in ("'soon'", "writeMode 'merge'", "no primary key", "properties[1].requird"):
        assert found in message
    assert message.count("write instead") == 4


def test_lateness_has_a_default(tmp_path: Path) -> None:
    text = changed(CONTRACT, "      - {property: allowedLateness, value: PT10M}\n", "")
    (dataset,) = load_catalog(write_project(tmp_path, {DATASET: text})).datasets
    assert dataset.allowed_lateness == dataset.idle_after == dt.timedelta(minutes=10)
    assert (dataset.lateness_horizon, dataset.quarantined_from) == (None, None)


def test_service_levels_are_what_the_contract_says_and_else_the_defaults(tmp_path: Path) -> None:
    (plain,) = load_catalog(write_project(tmp_path / "a", {DATASET: CONTRACT})).datasets
    assert (plain.slo, plain.priority) == (Slo(), "normal")
    levels = ["freshnessTarget, value: 99.9, unit: percent", "lagRecords, value: 5000, unit: records",
              "latency, value: 90, unit: seconds", "budgetWindow, value: 7, unit: days", "frequency, value: 1, unit: d"]  # fmt: skip
    items = "".join(f"  - {{property: {item}}}\n" for item in levels)
    text = changed(CONTRACT, "team:", f"slaProperties:\n{items}team:")
    text = changed(text, "PT10M}", "PT10M}\n      - {property: priority, value: low}")
    (dataset,) = load_catalog(write_project(tmp_path / "b", {DATASET: text})).datasets
    assert dataset.priority == "low"
    assert dataset.slo == Slo(
        freshness_target=0.999,
        lag_records=5000,
        latency=dt.timedelta(seconds=90),
        latency_p95=dt.timedelta(seconds=90),  # what holds for 99 of a hundred holds for 95
        window=dt.timedelta(days=7),
    )


def test_what_is_beyond_the_horizon_is_kept_unless_the_contract_says_otherwise(tmp_path: Path) -> None:
    text = changed(CONTRACT, "PT10M}", "PT10M}\n      - {property: latenessHorizon, value: P7D}")
    (kept,) = load_catalog(write_project(tmp_path / "a", {DATASET: text})).datasets
    assert (kept.lateness_horizon, kept.quarantined_from) == (dt.timedelta(days=7), None)
    text = changed(text, "P7D}", "P7D}\n      - {property: beyondHorizon, value: quarantine}")
    (refused,) = load_catalog(write_project(tmp_path / "b", {DATASET: text})).datasets
    assert refused.quarantined_from == dt.timedelta(days=7)


def test_rules_with_one_name_are_refused(tmp_path: Path) -> None:
    rule = "      - {id: same, type: custom, engine: platform, implementation: level > 0}\n"
    text = changed(CONTRACT, "team:\n", f"    quality:\n{rule}{rule}team:\n")
    message = refusal(tmp_path, {DATASET: text})
    assert "schema[0].quality[1]" in message
    assert "'same'" in message


def hundred(folder: Path) -> None:
    """Fifty datasets and a mart over each."""
    files: dict[str, str] = {}
    for number in range(50):
        dataset = CONTRACT.replace("readings", f"readings_{number}").replace("levels", f"levels_{number}")
        mart = MART.replace("[readings]", f"[readings_{number}]").replace("name: levels", f"name: levels_{number}")
        files[f"readings_{number}.odcs.yaml"] = dataset
        files[f"levels_{number}.odcs.yaml"] = mart
        files[f"levels_{number}.sql"] = SQL.replace("readings", f"readings_{number}", 1)
    write_project(folder / "contracts", files)


# Loaded as Dagster loads it, in a process of its own: the imports are part of what a person waits for.
SCRIPT = """
import time
began = time.perf_counter()
from dagster_project import definitions
imported = time.perf_counter()
settings = definitions.Settings.from_environment()
catalog = definitions.load_catalog(settings.contracts)
loaded = time.perf_counter()
repository = definitions.build(catalog, settings).get_repository_def()
built = time.perf_counter()
print(len(catalog.datasets), len(catalog.marts), len(repository.get_all_jobs()))
print(f"import {imported - began:.2f} s, load {loaded - imported:.2f} s, build {built - loaded:.2f} s")
"""


def test_a_hundred_contracts_load_in_seconds(tmp_path: Path) -> None:
    hundred(tmp_path)
    environment = {**os.environ, "LAKEHOUSE_HOME": str(tmp_path / "home")}
    environment["LAKEHOUSE_PROJECT"] = str(REPOSITORY)  # what the module loads by itself
    script = SCRIPT.replace(
        "definitions.Settings.from_environment()",
        f"definitions.Settings.from_environment({{'LAKEHOUSE_PROJECT': {str(tmp_path)!r}}})",
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    counts, times = ran.stdout.splitlines()
    print(times)  # noqa: T201 the measured times, for -rP
    datasets, marts, jobs = map(int, counts.split())
    assert (datasets, marts) == (50, 50)
    assert jobs >= 4 * 50  # ingest, verify, refine, catch up


def test_quality_items_become_rules_of_rows_and_of_table_partitions(tmp_path: Path) -> None:
    items = """\
    quality:
      - {id: newer, type: custom, engine: platform, implementation: at >= placed, severity: warning}
      - {id: some, metric: rowCount, mustBeGreaterThan: 0}
      - {id: usual, type: custom, engine: platform, implementation: {volume: {atLeast: 0.5}}, severity: warning}
      - {id: once, type: library, metric: duplicateValues, arguments: {properties: [id, at]}, mustBe: 0}
      - {id: sane, type: sql, query: "SELECT count(*) FROM ${table} WHERE level > 9", mustBeBetween: [0, 5], severity: warning}
team:"""
    level = (
        "{name: level, logicalType: integer, unique: true, quality: ["
        "{id: known, metric: missingValues, arguments: {missingValues: [null, -1]}, unit: percent, mustBeLessThan: 5}, "
        "{id: low, type: sql, query: 'SELECT max({property}) FROM {object}', mustBeLessOrEqualTo: 7}]}"
    )
    text = changed(changed(CONTRACT, "team:", items), LEVEL, level)
    text = changed(text, AT, AT[:-1] + ", customProperties: [{property: notInFuture, value: PT5M}]}")
    text = changed(
        text,
        "PT10M}",
        "PT10M}\n      - {property: breakerProbe, value: PT1M}\n      - {property: breakerMinRows, value: 7}",
    )
    (tmp_path / DATASET).write_text(text)
    (dataset,) = load_catalog(tmp_path).datasets
    assert dataset.rules == (SqlRule(id="newer", predicate="at >= placed", severity="warning"),)
    assert dataset.statistics == (Statistic(id="usual", kind="volume", back=4, at_least=0.5, severity="warning"),)
    wanted = {
        "some": ("rowCount", (), "more than 0", "error"),
        "once": ("duplicateValues", ("id", "at"), "exactly 0", "error"),
        "sane": ("sql", (), "between 0 and 5", "warning"),
        "known": ("missingValues", ("level",), "less than 5", "error"),
        "low": ("sql", (), "at most 7", "error"),
        "level.unique": ("duplicateValues", ("level",), "exactly 0", "error"),
    }
    rules = {rule.id: rule for rule in dataset.table_rules}
    assert {name: (rule.metric, rule.columns, str(rule.bound), rule.severity) for name, rule in rules.items()} == wanted
    assert (rules["known"].values, rules["known"].percent) == ((None, -1), True)
    assert rules["sane"].query == "SELECT count(*) FROM staged WHERE level > 9"
    assert rules["low"].query == 'SELECT max("level") FROM staged'
    assert dataset.column("at").constraints.not_in_future == dt.timedelta(minutes=5)
    assert (dataset.breaker.probe, dataset.breaker.min_rows) == (dt.timedelta(minutes=1), 7)


def mart_named(name: str, inputs: str, *, layout: str = "[event_date, region]", more: str = "") -> dict[str, str]:
    """A mart's files; without table partitions its key is a time, `since`, and there is another one, `until`."""
    text = MART.replace("name: levels", f"name: {name}").replace("[readings]", inputs)
    text = changed(text, "[event_date, region]}", f"{layout}}}{more}")
    if layout == "[]":
        times = "{name: since, logicalType: timestamp, required: true, primaryKey: true}\n      - {name: until, logicalType: timestamp}"
        text = changed(text, "{name: total, logicalType: integer}", times).replace("primaryKeyPosition: 1", "")
        text = "".join(
            line
            for line in text.splitlines(keepends=True)
            if "primaryKeyPosition" not in line and "event_date, log" not in line
        )
    return {f"{name}.odcs.yaml": text, f"{name}.sql": SQL}


def option(name: str, value: str) -> str:
    return f"\n      - {{property: {name}, value: {value}}}"


def test_marts_read_marts_in_any_order_of_their_files(tmp_path: Path) -> None:
    files = {
        DATASET: CONTRACT,
        **mart_named("a_report", "[{name: b_facts, trailingDays: 6}]", layout="[event_date]"),
        **mart_named("b_facts", "[{name: readings, leadingDays: 1}, c_people, d_days]", more=option("window", "PT15M")),
        **mart_named("c_people", "[readings]", layout="[]", more=option("validity", "[since, until]")),
        **mart_named("d_days", "[]", layout="[]"),
    }
    catalog = load_catalog(write_project(tmp_path, files))
    names = [mart.name for mart in catalog.marts]
    assert names.index("c_people") < names.index("b_facts") < names.index("a_report")
    report, facts, people, days = (catalog.mart(name) for name in ("a_report", "b_facts", "c_people", "d_days"))
    assert report.inputs == (MartInput(name="b_facts", kind="mart", before_days=6),)
    assert facts.inputs == (
        MartInput(name="readings", after_days=1),
        MartInput(name="c_people", kind="mart"),
        MartInput(name="d_days", kind="mart"),
    )
    assert (facts.regions, facts.start_date, facts.days_ahead) == (("eu", "us"), dt.date(2025, 12, 31), 0)
    assert (report.regions, report.start_date, report.days_ahead) == ((), dt.date(2025, 12, 31), 6)
    assert (people.partitioned_by, people.validity, people.start_date) == ((), ("since", "until"), None)
    assert (facts.window, people.window) == (dt.timedelta(minutes=15), None)
    assert (days.inputs, catalog.origins(days)) == ((), frozenset())
    assert [mart.name for mart in catalog.marts_of("readings")] == ["c_people", "b_facts", "a_report"]
    assert [mart.name for mart in catalog.readers("c_people")] == ["b_facts", "a_report"]
    assert catalog.origins(report) == {"readings"}


INPUTS_WRONG = {
    "unknown": ("[reading, c_people]", {}, "inputs ['reading', 'c_people']", "or of other marts (c_people, d_days)"),
    "no list": ("readings", {}, "inputs 'readings'", "a list of datasets"),
    "no name": ("[{trailingDays: 1}]", {}, "inputs [{'trailingDays': 1}]", "a list of datasets"),
    "twice": ("[readings, {name: readings}]", {}, "inputs ['readings', {'name': 'readings'}]", "each input once"),
    "days": ("[{name: readings, trailingDays: -1}]", {}, "trailingDays -1 of input 'readings'", "whole days, 0 to 366"),
    "typing error": ("[{name: readings, trailing: 1}]", {}, "trailing of input 'readings'", "name, trailingDays and leadingDays only"),
    "days of a dimension": ("[readings, {name: c_people, trailingDays: 1}]", {}, "days beside its own of input 'c_people'", "it is read whole"),
    "dimensions alone": ("[c_people]", {}, "inputs ['c_people'] without table partitions", "a dataset or a mart by event_date among them"),
    "days into a dimension": ("[{name: readings, leadingDays: 2}]", {"layout": "[]"}, "days beside its own of input 'readings'", "reads its inputs whole"),
    "validity of days": ("[readings]", {"more": option("validity", "[since, until]")}, "validity ['since', 'until']", "two timestamp properties"),
    "validity, no time": ("[readings]", {"layout": "[]", "more": option("validity", "[since, readings]")}, "validity ['since', 'readings']", "two timestamp properties"),
    "validity, one": ("[readings]", {"layout": "[]", "more": option("validity", "[since]")}, "validity ['since']", "two timestamp properties"),
    "window": ("[readings]", {"more": option("window", "PT7M")}, "window 'PT7M'", "a whole number of"),
    "window of a dimension": ("[readings]", {"layout": "[]", "more": option("window", "PT1M")}, "window of a mart that reads no dataset by date", "whose watermark it follows"),
    "itself": ("[readings, x]", {}, "inputs ['readings', 'x'] of marts that read each other in a circle", "one after the other"),
}  # fmt: skip


@pytest.mark.parametrize("case", INPUTS_WRONG)
def test_what_is_wrong_with_the_inputs_of_a_mart(tmp_path: Path, case: str) -> None:
    inputs, changes, found, expected = INPUTS_WRONG[case]
    files = {
        DATASET: CONTRACT,
        **mart_named("c_people", "[readings]", layout="[]"),
        **mart_named("d_days", "[]", layout="[]"),
        **mart_named("x", inputs, **changes),
        **mart_named("reader", "[readings, x]"),  # has nothing to say of its own
    }
    message = refusal(tmp_path, files)
    lines = [line for line in message.splitlines() if line.startswith(f"{tmp_path / 'x.odcs.yaml'}:")]
    assert [found in line for line in lines] == [True]
    assert expected in message


def test_validity_is_a_dimensions(tmp_path: Path) -> None:
    times = (
        "- {name: since, logicalType: timestamp}\n      - {name: until, logicalType: timestamp}\n      - {name: total"
    )
    files = mart_named("x", "[readings]", more=option("validity", "[since, until]"))
    text = changed(files["x.odcs.yaml"], "- {name: total", times)
    message = refusal(tmp_path, {DATASET: CONTRACT, "x.odcs.yaml": text, "x.sql": SQL})
    assert "validity of a mart by ['event_date', 'region']" in message


def test_marts_in_a_circle_are_all_named(tmp_path: Path) -> None:
    files = {DATASET: CONTRACT, **mart_named("a", "[readings, b]"), **mart_named("b", "[readings, a]")}
    message = refusal(tmp_path, files)
    for name in "ab":
        assert f"{tmp_path / name}.odcs.yaml:" in message
    assert message.count("in a circle") == 2
