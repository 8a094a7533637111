"""A third of one region's rows is bad: its breaker opens, all else goes on, and after the fix it closes by itself.

Driven as Dagster drives it: sensors are asked, and the runs that they ask for are launched.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from dagster_project.accounting.account import Account, account
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.definitions import build
from dagster_project.lake.storage import Storage
from dagster_project.settings import Settings
from dagster_project.topics import admin, derived
from dagster_project.topics.broker import Broker
from tests.integration.lake import PATIENCE, environment, lakehouse, unique

CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: sales
name: Sales
version: 1.0.0
status: active
domain: shop
servers:
  - {server: kafka, type: kafka, environment: prod, host: "kafka:9092", format: json}
schema:
  - name: sales
    physicalName: TOPIC
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: sold_at}
      - {property: startDate, value: "2026-03-01"}
      - {property: writeMode, value: append}
      - {property: breakerBadRate, value: 0.2}
      - {property: breakerMinRows, value: 50}
      - {property: breakerProbe, value: PT0.001S}
    properties:
      - {name: sale, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: sold_at, logicalType: timestamp, required: true}
      - {name: shop, logicalType: string, required: true, partitioned: true, enum: [{value: north}, {value: south}]}
      - {name: price, logicalType: integer, required: true, logicalTypeOptions: {minimum: 1}}
    quality:
      - {id: enough, metric: rowCount, mustBeGreaterThan: 20}
team: {name: shop-data}
"""
FIRST, SECOND = dt.date(2026, 3, 1), dt.date(2026, 3, 2)
REFINE, CATCH_UP = "refine_sales", "catch_up_sales"
SILVER = dg.AssetKey(["silver", "sales"])


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A project of one dataset, on a topic of its own."""

    settings: Settings
    variables: dict[str, str]
    instance: dg.DagsterInstance

    catalog: Catalog
    definitions: dg.Definitions

    def sell(self, name: str, *, shop: str, day: dt.date, prices: list[int]) -> None:
        producer = ck.Producer({"bootstrap.servers": self.settings.bootstrap_servers})
        for number, price in enumerate(prices):
            sale = {"sale": f"{name}{number}", "sold_at": f"{day}T12:00:00Z", "shop": shop, "price": price}
            producer.produce(self.catalog.datasets[0].topic.name, key=f"{name}{number}", value=json.dumps(sale))
        assert producer.flush(PATIENCE) == 0

    def tick(self, sensor: str) -> SensorExecutionData:
        definitions = self.definitions
        with dg.build_sensor_context(
            instance=self.instance, repository_def=definitions.get_repository_def(), resources=definitions.resources
        ) as context:
            return definitions.resolve_sensor_def(sensor).evaluate_tick(context)

    def follow(self) -> list[str]:
        """Let the sensors ask until they rest; returns the jobs that they asked for after the ingest."""
        jobs: list[str] = []
        for sensor in ("kafka_lag", "bronze_changes"):
            for _ in range(4):
                requests = self.tick(sensor).run_requests or ()
                for request in requests:
                    assert request.job_name
                    job = self.definitions.resolve_job_def(request.job_name)
                    assert job.execute_in_process(instance=self.instance, tags=request.tags).success
                    jobs += [request.job_name] if sensor == "bronze_changes" else []
                if not requests:
                    break
        return jobs

    def run(self, *arguments: str) -> Any:
        done = lakehouse([*arguments, "--json"], self.variables)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def account(self) -> Account:
        (dataset,), servers = self.catalog.datasets, self.settings.bootstrap_servers
        found = account(
            dataset,
            catalog=self.catalog,
            storage=Storage.at(self.settings.lake_uri),
            topic=lambda: Broker(servers).topic(dataset.topic.name),
            bootstrap_servers=servers,
            payloads=True,
        )
        assert found.accounted, found.problems
        return found

    def check(self, region: str) -> dg.AssetCheckEvaluation:
        keys = [dg.AssetCheckKey(SILVER, f"gate_{region}")]
        (record,) = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).values()
        assert record.event is not None
        evaluation = record.event.asset_check_evaluation
        assert evaluation is not None
        return evaluation

    def materialized(self) -> set[str]:
        return set(self.instance.get_materialized_partitions(SILVER))


@pytest.fixture
def shop(broker: str, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "sales.odcs.yaml").write_text(CONTRACT.replace("TOPIC", unique("shop.sales.v1")))
    home = tmp_path / "home"
    settings = Settings(home=home, project=tmp_path, lake_uri=str(home / "lake"), bootstrap_servers=broker)
    variables = environment(home=home, project=tmp_path, servers=broker)
    with dg.DagsterInstance.ephemeral() as instance:
        catalog = load_catalog(settings.contracts)
        for step in admin.plan_all(derived.wanted(catalog.datasets), bootstrap_servers=broker):
            admin.apply(step, bootstrap_servers=broker)
        made = build(catalog, settings)
        yield Shop(settings=settings, variables=variables, instance=instance, catalog=catalog, definitions=made)


def test_one_bad_region_waits_and_comes_back_by_itself(shop: Shop) -> None:
    # 30 of 100 rows of the north are bad; the south is well.
    shop.sell("n", shop="north", day=FIRST, prices=[0] * 30 + [5] * 70)
    shop.sell("s", shop="south", day=FIRST, prices=[5] * 40)
    shop.follow()
    found = shop.account()
    assert (found.bronze_rows, found.silver_rows, found.held, found.quarantined) == (140, 40, 100, 0)
    assert shop.materialized() == {"2026-03-01|south"}
    north, south = shop.check("north"), shop.check("south")
    assert (north.passed, north.severity, south.passed) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert north.metadata["breaker"].value == "open"
    assert "30 of 100 rows broke a row rule (30.0%)" in str(north.metadata["held"].value)
    (held,) = shop.run("quarantine", "list", "sales")["held"]
    assert (held["scope"], held["by"], held["rows"]) == ("north", "breaker", 100)
    assert "30 of 100 rows" in held["why"]

    # Bronze lands what comes, still bad; the south publishes it.
    shop.sell("o", shop="north", day=SECOND, prices=[0] * 30 + [5] * 30)
    shop.sell("t", shop="south", day=SECOND, prices=[5] * 30)
    shop.follow()
    found = shop.account()
    assert (found.bronze_rows, found.silver_rows, found.held, found.quarantined) == (230, 70, 160, 0)
    assert shop.materialized() == {"2026-03-01|south", "2026-03-02|south"}

    # The producer is mended: its first good rows close the breaker, and all that waited is published or quarantined.
    shop.sell("p", shop="north", day=SECOND, prices=[5] * 60)
    shop.follow()
    found = shop.account()
    assert (found.bronze_rows, found.silver_rows, found.held, found.quarantined) == (290, 230, 0, 60)
    assert shop.materialized() == {f"{day}|{region}" for day in (FIRST, SECOND) for region in ("north", "south")}
    assert (shop.check("north").passed, shop.check("north").metadata["breaker"].value) == (True, "closed")
    assert not shop.follow()

    # A gift may be free: the contract is mended, too.
    path = shop.settings.contracts / "sales.odcs.yaml"
    path.write_text(path.read_text().replace("minimum: 1", "minimum: 0"))
    done = shop.run("quarantine", "release", "sales")
    assert (done["judged"], done["released"]) == (60, {"2026-03-01/north": 30, "2026-03-02/north": 30})
    found = shop.account()
    assert (found.silver_rows, found.quarantined, found.held, found.superseded) == (290, 0, 0, 0)
    listed = shop.run("quarantine", "list", "sales")
    assert (listed["rows"], listed["held"], listed["quarantined"]) == (0, [], [])


def test_a_table_partition_that_breaks_a_table_rule_is_red_alone(shop: Shop) -> None:
    # One range run covers both days of the north; the second has too few rows.
    shop.sell("n", shop="north", day=FIRST, prices=[5] * 21)
    shop.sell("o", shop="north", day=SECOND, prices=[5] * 20)
    shop.sell("s", shop="south", day=SECOND, prices=[5] * 21)
    jobs = shop.follow()
    assert REFINE in jobs
    found = shop.account()
    assert (found.silver_rows, found.held) == (42, 20)
    assert shop.materialized() == {"2026-03-01|north", "2026-03-02|south"}
    north = shop.check("north")
    assert (north.passed, north.metadata["breaker"].value) == (False, "closed")
    assert "enough: 20, must be more than 20" in str(north.metadata["held"].value)
    assert "2026-03-02/north" in str(north.metadata["held"].value)
    assert shop.check("south").passed
    # One row more, and it is whole.
    shop.sell("p", shop="north", day=SECOND, prices=[5])
    shop.follow()
    found = shop.account()
    assert (found.silver_rows, found.held) == (63, 0)
    assert shop.check("north").passed
    assert "2026-03-02|north" in shop.materialized()
