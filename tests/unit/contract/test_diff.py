"""A change of a contract is called additive or breaking, each for its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.contract.diff import compare
from dagster_project.contract.history import broken_promises
from dagster_project.contract.loader import load_contract
from dagster_project.contract.model import Dataset
from dagster_project.errors import ContractError, LakeError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

BASE = """
apiVersion: v3.2.0
kind: DataContract
id: sales
name: Sales
version: 1.2.0
status: active
domain: shop
servers:
  - server: kafka
    type: kafka
    host: kafka:9092
    format: json
    customProperties: [{property: partitions, value: 4}]
schema:
  - name: sales
    physicalName: shop.sales
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: at}
      - {property: startDate, value: "2026-01-01"}
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: at, logicalType: timestamp, required: true}
      - {name: region, logicalType: string, required: true, partitioned: true, enum: [{value: eu}, {value: us}]}
      - {name: status, logicalType: string, enum: [{value: open}, {value: closed}]}
      - {name: count, logicalType: integer, logicalTypeOptions: {format: i32, minimum: 0, maximum: 100}}
      - {name: amount, logicalType: number, physicalType: "decimal(10, 2)", required: true}
      - {name: code, logicalType: string, logicalTypeOptions: {maxLength: 10, pattern: "^[A-Z]+$"}}
      - name: lines
        logicalType: array
        items:
          logicalType: object
          properties:
            - {name: sku, logicalType: string, required: true}
            - {name: price, logicalType: number, physicalType: "decimal(10, 2)"}
    quality:
      - {id: fair, type: custom, engine: platform, implementation: amount >= 0, severity: error}
slaProperties:
  - {property: freshness, value: 1, unit: hours}
team: {name: shop}
"""
COUNT = "{name: count, logicalType: integer, logicalTypeOptions: {format: i32, minimum: 0, maximum: 100}}"
CODE = '{name: code, logicalType: string, logicalTypeOptions: {maxLength: 10, pattern: "^[A-Z]+$"}}'
PRICE = '{name: price, logicalType: number, physicalType: "decimal(10, 2)"}'
RULE = "{id: fair, type: custom, engine: platform, implementation: amount >= 0, severity: error}"
STATUS = "{name: status, logicalType: string, enum: [{value: open}, {value: closed}]}"
# What becomes what; the verdict; path and difference.
PAIRS = {
    "added optional": (COUNT, f"{COUNT}\n      - {{name: note, logicalType: string}}", "additive", "note", "added, optional"),
    "added required": (COUNT, f"{COUNT}\n      - {{name: note, logicalType: string, required: true}}", "breaking", "note", "added, required"),
    "removed": (f"      - {COUNT}\n", "", "breaking", "count", "removed"),
    "renamed": ("name: status,", "name: order_status,", "breaking", "status", "renamed to order_status"),
    "widened integer": ("format: i32, ", "", "breaking", "count", "widened: int → bigint"),
    "widened decimal": ('"decimal(10, 2)", required', '"decimal(14, 4)", required', "breaking", "amount", "widened: decimal(10, 2) → decimal(14, 4)"),
    "narrowed decimal": ('"decimal(10, 2)", required', '"decimal(9, 2)", required', "breaking", "amount", "narrowed: decimal(10, 2) → decimal(9, 2)"),
    "more decimals, fewer digits": ('"decimal(10, 2)", required', '"decimal(10, 4)", required', "breaking", "amount", "another type: decimal(10, 2) → decimal(10, 4)"),
    "another type": ("{name: status, logicalType: string, enum: [{value: open}, {value: closed}]}", "{name: status, logicalType: boolean}", "breaking", "status", "another type: string → boolean"),
    "required now": ("{name: status, logicalType: string,", "{name: status, logicalType: string, required: true,", "breaking", "status", "optional → required"),
    "optional now": ('"decimal(10, 2)", required: true', '"decimal(10, 2)"', "breaking", "amount", "required → optional"),
    "enum grown": ("[{value: open}, {value: closed}]", "[{value: open}, {value: closed}, {value: lost}]", "additive", "status", "enum with lost"),
    "enum shrunk": ("[{value: open}, {value: closed}]", "[{value: open}]", "breaking", "status", "enum without closed"),
    "region added": ("[{value: eu}, {value: us}]", "[{value: eu}, {value: us}, {value: apac}]", "additive", "region", "enum with apac"),
    "key changed": ("primaryKey: true, primaryKeyPosition: 1}\n      - {name: at, logicalType: timestamp, required: true}", "primaryKey: true, primaryKeyPosition: 1}\n      - {name: at, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 2}", "breaking", "merge key", "id → id, at"),
    "range loosened": ("maximum: 100", "maximum: 1000", "additive", "count", "maximum 100 → 1000"),
    "range tightened": ("minimum: 0", "minimum: 1", "breaking", "count", "minimum 0 → 1"),
    "length tightened": ("maxLength: 10", "maxLength: 5", "breaking", "code", "maxLength 10 → 5"),
    "pattern removed": (', pattern: "^[A-Z]+$"', "", "additive", "code", "pattern removed"),
    "pattern changed": ("^[A-Z]+$", "^[A-Z0-9]+$", "breaking", "code", "another pattern"),
    "rule added": (f"- {RULE}", f"- {RULE}\n      - {RULE.replace('fair', 'small').replace('>= 0', '< 9')}", "breaking", "rule small", "added"),
    "rule changed": ("amount >= 0", "amount > 0", "breaking", "rule fair", "another predicate"),
    "rule only warns": ("severity: error", "severity: warning", "additive", "rule fair", "only warns"),
    "nested field added": (PRICE, f"{PRICE}\n            - {{name: tax, logicalType: string}}", "additive", "lines[].tax", "added, optional"),
    "nested field removed": (f"            - {PRICE}\n", "", "breaking", "lines[].price", "removed"),
    "nested field widened": ('{name: price, logicalType: number, physicalType: "decimal(10, 2)"}', '{name: price, logicalType: number, physicalType: "decimal(12, 2)"}', "breaking", "lines[].price", "widened: decimal(10, 2) → decimal(12, 2)"),
    "nested field added, required": (PRICE, f"{PRICE}\n            - {{name: tax, logicalType: string, required: true}}", "breaking", "lines[].tax", "added, required"),
    "nested field renamed": ("name: price,", "name: prices,", "breaking", "lines[].price", "renamed to prices"),
    "nested field required now": ("{name: price,", "{name: price, required: true,", "breaking", "lines[].price", "optional → required"),
    "nested object added": (PRICE, f"{PRICE}\n            - {{name: tax, logicalType: object, properties: [{{name: rate, logicalType: number}}]}}", "additive", "lines[].tax", "added, optional"),
    "nested length tightened": ("{name: sku, logicalType: string,", "{name: sku, logicalType: string, logicalTypeOptions: {maxLength: 3},", "breaking", "lines[].sku", "maxLength none → 3"),
    "another topic": ("shop.sales", "shop.sales.v2", "breaking", "topic", "shop.sales → shop.sales.v2"),
    "more Kafka partitions": ("partitions, value: 4", "partitions, value: 8", "additive", "Kafka partitions", "4 → 8"),
    "fewer Kafka partitions": ("partitions, value: 4", "partitions, value: 2", "breaking", "Kafka partitions", "4 → 2"),
    "later start": ("2026-01-01", "2026-02-01", "breaking", "start date", "2026-01-01 → 2026-02-01"),
    "another write mode": ('startDate, value: "2026-01-01"}', 'startDate, value: "2026-01-01"}\n      - {property: writeMode, value: upsert}', "breaking", "write mode", "append → upsert"),
    "service level": ("value: 1, unit: hours", "value: 2, unit: hours", "additive", "service levels", "changed"),
    "horizon that only counts": ('startDate, value: "2026-01-01"}', 'startDate, value: "2026-01-01"}\n      - {property: latenessHorizon, value: P7D}', "additive", "lateness horizon", "changed"),
    "horizon that quarantines": ('startDate, value: "2026-01-01"}', 'startDate, value: "2026-01-01"}\n      - {property: latenessHorizon, value: P7D}\n      - {property: beyondHorizon, value: quarantine}', "breaking", "lateness horizon", "none → 7 days, 0:00:00"),
    "idle after": ('startDate, value: "2026-01-01"}', 'startDate, value: "2026-01-01"}\n      - {property: idleAfter, value: PT1H}', "additive", "idle after", "changed"),
    "classified": ("{name: code, ", "{name: code, classification: confidential, ", "breaking", "code", "classification none → confidential; from Silver on in the clear → a pseudonym of domain code"),
}  # fmt: skip


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.odcs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PAIRS)
def test_the_verdict_on_each_kind_of_change(tmp_path: Path, name: str) -> None:
    old, new, verdict, path, what = PAIRS[name]
    assert BASE.count(old) >= 1
    before = load_contract(written(tmp_path, "before", BASE))
    after = load_contract(written(tmp_path, "after", BASE.replace(old, new, 1)))
    (change,) = compare(before, after)
    assert (change.verdict, change.path, change.what) == (verdict, path, what)
    assert change.reason


@pytest.mark.parametrize("name", PAIRS)
def test_the_tables_take_what_is_additive_and_never_another_type(tmp_path: Path, name: str) -> None:
    old, new, verdict, _, what = PAIRS[name]
    before = load_contract(written(tmp_path, "before", BASE))
    after = load_contract(written(tmp_path, "after", BASE.replace(old, new, 1)))
    assert isinstance(before, Dataset)
    assert isinstance(after, Dataset)
    storage = Storage.at(str(tmp_path / "lake"))
    for spec in (specs.bronze, specs.silver):
        Table.open(spec(before), storage=storage)
        if verdict == "additive":
            found = Table.open(spec(after), storage=storage).schema
            assert {name: found[name] for name in spec(after).schema} == spec(after).schema
        elif "type: " in what or "ed: " in what:
            with pytest.raises(LakeError):
                Table.open(spec(after), storage=storage)


def test_a_horizon_that_quarantines_more_breaks_and_one_that_quarantines_less_does_not(tmp_path: Path) -> None:
    start = '{property: startDate, value: "2026-01-01"}'
    horizons = [
        f"{start}\n      - {{property: latenessHorizon, value: {length}}}\n      - {{property: beyondHorizon, value: {fate}}}"
        for length, fate in (("P7D", "quarantine"), ("P9D", "quarantine"), ("P1D", "keep"))
    ]
    week, longer, kept = (
        load_contract(written(tmp_path, f"v{number}", BASE.replace(f"- {start}", f"- {horizon}")))
        for number, horizon in enumerate(horizons)
    )
    for old, new, verdict in ((week, longer, "additive"), (longer, week, "breaking"), (longer, kept, "additive")):
        assert [(change.verdict, change.path) for change in compare(old, new)] == [(verdict, "lateness horizon")]


def test_equal_contracts_have_no_change_and_breaking_ones_come_first(tmp_path: Path) -> None:
    before = load_contract(written(tmp_path, "before", BASE))
    assert compare(before, before) == ()
    text = BASE.replace("maximum: 100", "maximum: 1000").replace("maxLength: 10", "maxLength: 5")
    found = compare(before, load_contract(written(tmp_path, "after", text)))
    assert [change.verdict for change in found] == ["breaking", "additive"]


def test_a_column_that_says_its_older_name_is_compared_with_that_one(tmp_path: Path) -> None:
    before = load_contract(written(tmp_path, "before", BASE))
    # "counter" is much more like "count" than "height" is; what a contract says counts for more.
    text = BASE.replace(
        COUNT,
        f"{COUNT.replace('name: count', 'name: height').replace('100}}', '10}, customProperties: [{property: renamedFrom, value: count}]}')}"
        "\n      - {name: counter, logicalType: integer, logicalTypeOptions: {format: i32}}",
    )
    found = compare(before, load_contract(written(tmp_path, "after", text)))
    assert [(change.verdict, change.path, change.what) for change in found] == [
        ("breaking", "count", "renamed to height"),
        ("breaking", "height", "maximum 100 → 10"),
        ("additive", "counter", "added, optional"),
    ]


def test_two_contracts_of_different_things_are_refused(tmp_path: Path) -> None:
    before = load_contract(written(tmp_path, "before", BASE))
    other = load_contract(written(tmp_path, "after", BASE.replace("- name: sales", "- name: returns")))
    with pytest.raises(ContractError, match="two versions of the same"):
        compare(before, other)


def difference(old: str, new: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dagster_project.cli.main", "contract", "diff", old, new, "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_ends_with_1_only_if_something_breaks(tmp_path: Path) -> None:
    before = str(written(tmp_path, "before", BASE))
    wider = str(written(tmp_path, "wider", BASE.replace("maximum: 100", "maximum: 1000")))
    narrower = str(written(tmp_path, "narrower", BASE.replace("maximum: 100", "maximum: 10")))
    for other, code, verdict in ((wider, 0, "additive"), (narrower, 1, "breaking")):
        answer = difference(before, other)
        assert answer.returncode == code, answer.stderr
        assert [change["verdict"] for change in json.loads(answer.stdout)] == [verdict]


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_landed_contract_breaks_only_with_a_new_major_version(tmp_path: Path) -> None:
    folder = write_project(tmp_path, {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": MART, "levels.sql": SQL})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "contracts")
    assert broken_promises(folder, revision="HEAD") == []
    version = next(line for line in CONTRACT.splitlines() if line.startswith("version:"))
    tighter = CONTRACT.replace("minimum: 0", "minimum: 1")
    assert tighter != CONTRACT
    (folder / "readings.odcs.yaml").write_text(tighter)
    (broken,) = broken_promises(folder, revision="HEAD")
    assert (broken.name, [change.what for change in broken.changes]) == ("readings", ["minimum 0 → 1"])
    (folder / "readings.odcs.yaml").write_text(tighter.replace(version, "version: 2.0.0"))
    assert broken_promises(folder, revision="HEAD") == []
    (folder / "levels.odcs.yaml").unlink()
    (gone,) = broken_promises(folder, revision="HEAD")
    assert (gone.name, gone.new, gone.changes[0].what) == ("levels", "", "removed")
    with pytest.raises(ContractError, match="git does not give"):
        broken_promises(folder, revision="nowhere")
