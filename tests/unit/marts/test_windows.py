"""Windows close as the watermark passes them, and only table partitions in which it has moved are computed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.contract.model import Catalog
from tests.unit.lakes import CONTRACT, reading
from tests.unit.marts.world import BY_DATE, COUNTS, DATE, REGION, World, mart, world_catalog

HOUR, DAY = 60, 24 * 60
CLOSED = "count(*) FILTER (time_bucket(INTERVAL 1 HOUR, readings.at) + INTERVAL 1 HOUR <= watermark) AS total"
FILES = {
    # Events are placed by their own time; ten minutes late is in time.
    "readings.odcs.yaml": CONTRACT.replace("      - {property: partitionTime, value: placed}\n", ""),
    "others.odcs.yaml": CONTRACT.replace("readings", "others"),
    **mart(
        "hours",
        f"SELECT event_date, readings.region, count(*) AS readings, {CLOSED} FROM silver.readings "
        "LEFT JOIN lake.watermarks AS now ON now.dataset = 'readings' AND now.region = readings.region GROUP BY ALL",
        inputs="[readings]",
        window="PT1H",
    ),
    **mart(
        "everywhere",
        f"SELECT event_date, count(*) AS readings, {CLOSED} FROM silver.readings, "
        "(SELECT min(watermark) AS watermark FROM lake.watermarks WHERE NOT silent) GROUP BY ALL",
        inputs="[readings]",
        by=BY_DATE,
        columns=(DATE, *COUNTS),
        window="PT1H",
    ),
    **mart(
        "pairs",
        f"SELECT event_date, readings.region, count(*) AS readings, {CLOSED} FROM silver.readings "
        "LEFT JOIN lake.watermarks AS now ON now.dataset = 'readings' AND now.region = readings.region GROUP BY ALL",
        inputs="[{name: readings, leadingDays: 1}]",
        columns=(DATE, REGION, *COUNTS),
        window="PT1H",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return world_catalog(tmp_path_factory.mktemp("windows"), FILES)


@pytest.fixture
def world(tmp_path: Path, project: Catalog) -> World:
    return World.at(tmp_path / "lake", catalog=project)


def arrive(world: World, offset: int, at: int, region: str = "eu", *, partition: int = 0) -> dict[str, set[str]]:
    """One event, sent on the day that it is of; by mart, what was computed after it."""
    message = reading(offset, f"k{partition}-{offset}", at=at, day=at // DAY + 2, region=region, partition=partition)
    world.readings.arrive(message)
    world.refine()
    return world.computed()


def closed(world: World, name: str = "hours") -> list[tuple[object, ...]]:
    return [(str(row["event_date"]), row["readings"], row["total"]) for row in world.rows(name).to_dicts()]


def test_a_window_closes_when_the_watermark_has_passed_it(world: World) -> None:
    first, second = "2026-01-01", "2026-01-02"
    arrive(world, 0, 22 * HOUR)
    arrive(world, 1, 23 * HOUR)
    assert closed(world) == [(first, 2, 0)]
    done = arrive(world, 2, 23 * HOUR + 10)  # the watermark is at 23:00, the end of the first window
    assert closed(world) == [(first, 3, 1)]
    assert done["hours"] == {f"{first}/eu"}
    done = arrive(world, 3, DAY + HOUR)  # of the next day, and closes the last one of this
    assert done["hours"] == {f"{first}/eu", f"{second}/eu"}
    assert closed(world) == [(first, 3, 3), (second, 1, 0)]
    # The first day can be opened by nothing any more, and steps within a window close nothing.
    assert arrive(world, 4, DAY + HOUR + 5)["hours"] == {f"{second}/eu"}
    assert arrive(world, 5, DAY + 3 * HOUR)["hours"] == {f"{second}/eu"}
    assert world.computed() == {}


def test_days_beside_wait_for_the_watermark_of_the_day_after(world: World) -> None:
    arrive(world, 0, 22 * HOUR)
    done = arrive(world, 1, DAY + 3 * HOUR)
    assert done["pairs"] == {"2025-12-31/eu", "2026-01-01/eu", "2026-01-02/eu"}
    done = arrive(
        world, 2, 2 * DAY + 5 * HOUR
    )  # is read by neither, but the watermark has left what the first day reads
    assert "2026-01-01/eu" in done["pairs"]
    assert "2026-01-01/eu" not in done["hours"]
    assert "2026-01-01/eu" not in arrive(world, 3, 2 * DAY + 9 * HOUR)["pairs"]


def test_a_silent_region_keeps_its_own_windows_open_and_no_others(world: World) -> None:
    arrive(world, 0, 1 * HOUR, "us")
    arrive(world, 1, 1 * HOUR, "eu")
    assert closed(world, "everywhere") == [("2026-01-01", 2, 0)]
    done = arrive(world, 2, 5 * HOUR, "eu")
    assert closed(world, "everywhere") == [("2026-01-01", 3, 2)]
    assert [row["total"] for row in world.rows("hours").to_dicts()] == [1, 0]  # eu, us
    assert done["everywhere"] == {"2026-01-01"}
    again = World.at(Path(world.storage.uri), catalog=world.catalog)
    assert {name: [commit.changed for commit in commits] for name, commits in again.compute(afresh=True).items()} == {
        name: [()] for name in ("hours", "everywhere", "pairs")
    }
