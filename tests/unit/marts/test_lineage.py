"""Each column of a mart is traced through its SQL to the columns of Silver and of other marts that it comes from."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_project.assets.lineage import gold_lineage
from dagster_project.contract.lineage import origins
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import CONTRACT
from tests.unit.marts.test_windows import FILES as WINDOWS
from tests.unit.marts.world import FILES, world_catalog


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return world_catalog(tmp_path_factory.mktemp("world"))


def traced(catalog: Catalog, mart: str) -> dict[str, list[str]]:
    return {
        column: [".".join(origin) for origin in found] for column, found in origins(catalog.mart(mart), catalog).items()
    }


def test_columns_come_from_silver_and_from_marts(project: Catalog) -> None:
    assert traced(project, "facts") == {
        "event_date": ["silver.readings.event_date"],
        "region": ["silver.readings.region"],
        "id": ["silver.readings.id"],
        "total": ["gold.versions.total"],
        "size": ["gold.fixed.readings"],
    }
    assert traced(project, "report")["total"] == ["gold.dates.total", "gold.facts.total"]
    assert traced(project, "versions")["until"] == ["silver.others.at"]
    assert traced(project, "both")["total"] == ["silver.others.level", "silver.readings.level"]
    assert {name for found in traced(project, "fixed").values() for name in found} == set()


def test_what_the_platform_adds_is_traced_where_it_is_a_rows_own(tmp_path: Path) -> None:
    sql = "SELECT event_date, region, count(_late_us) AS readings, max(_kafka_offset) AS total FROM silver.readings GROUP BY ALL"
    catalog = world_catalog(
        tmp_path, {"readings.odcs.yaml": CONTRACT, "same.odcs.yaml": FILES["same.odcs.yaml"], "same.sql": sql}
    )
    assert traced(catalog, "same")["total"] == ["silver.readings._kafka_offset"]
    assert traced(catalog, "same")["readings"] == ["silver.readings._late_us"]


def test_watermarks_are_no_origin(tmp_path: Path) -> None:
    catalog = world_catalog(tmp_path, WINDOWS)
    assert traced(catalog, "hours")["total"] == ["silver.readings.at"]


def test_the_ui_is_told_of_the_assets(project: Catalog) -> None:
    assert gold_lineage(project.mart("facts"), project).deps_by_column["total"] == [
        dg.TableColumnDep(asset_key=dg.AssetKey(["gold", "versions"]), column_name="total")
    ]
    assert gold_lineage(project.mart("same"), project).deps_by_column["total"] == [
        dg.TableColumnDep(asset_key=dg.AssetKey(["silver", "readings"]), column_name="level")
    ]


def test_every_mart_of_the_project_is_traced() -> None:
    catalog = load_catalog(REPOSITORY / "contracts")
    for mart in catalog.marts:
        found = origins(mart, catalog)
        assert set(found) == {column.name for column in mart.columns}
        if mart.inputs:
            assert any(found.values()), mart.name
