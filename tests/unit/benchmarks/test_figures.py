"""Figures, the result file, and the page that is made of it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import charts
from benchmarks.compare import figures
from benchmarks.figures import GATES, Outcome, VerdictError
from benchmarks.measure import Measured
from benchmarks.result import Result
from benchmarks.sizes import QUICK
from dagster_project.errors import KafkaError


def measured(*, cpu_s: float, wall_s: float) -> Measured:
    return Measured(cpu_s=cpu_s, wall_s=wall_s, peak_rss_mib=1.0, bytes_written=1, output_bytes=1, answer={})


def begun(path: Path, *, keep: bool = False, command: str = "make bench") -> Result:
    return Result.begin(path, command=command, sizes=QUICK, keep=keep)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_ratios_are_taken_round_by_round_and_per_event() -> None:
    found = figures(
        {
            "ours": [measured(cpu_s=4, wall_s=2), measured(cpu_s=8, wall_s=4), measured(cpu_s=5, wall_s=2)],
            "floor": [measured(cpu_s=2, wall_s=1), measured(cpu_s=4, wall_s=2), measured(cpu_s=2, wall_s=1)],
            "dlt": [measured(cpu_s=4, wall_s=9)] * 3,  # for a tenth of the events
        },
        {"ours": 1_000, "floor": 1_000, "dlt": 100},
    )
    assert found.figures == {"ratio_to_floor": 0.5, "wall_ratio_to_floor": 0.5, "core_ratio_to_dlt": 8.0}
    assert found.spread["ratio_to_floor"] == (0.4, 0.5)
    assert found.spread["core_ratio_to_dlt"] == (5.0, 10.0)


def test_without_the_platform_itself_there_is_no_ratio() -> None:
    assert figures({"floor": [measured(cpu_s=1, wall_s=1)]}, {"floor": 1}).figures == {}


@pytest.mark.parametrize(("figure", "good", "bad"), [("ratio_to_floor", 0.3, 0.29), ("growth", 1.15, 1.16)])
def test_a_bound_is_kept_or_missed(figure: str, good: float, bad: float) -> None:
    assert GATES[figure].holds(good)
    assert not GATES[figure].holds(bad)


def test_parts_that_are_measured_later_are_added(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    first = begun(path)
    first.add("tick", Outcome(figures={"tick_s": 0.5}))
    first.finish()
    second = begun(path, keep=True, command="make part")
    second.add("growth", Outcome(figures={"growth": 1.0}))
    assert read(path)["verdict"] == "not yet known"
    second.finish()
    found = read(path)
    assert found["figures"] == {"tick_s": 0.5, "growth": 1.0}
    assert [found["measured"][name]["command"] for name in ("tick_s", "growth")] == ["make bench", "make part"]
    assert found["verdict"] == "equal"


def test_what_differs_from_the_oracle_has_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    result = begun(path)
    result.add("tick", Outcome(figures={"tick_s": 0.5}))
    result.fail(KafkaError("the broker went"))
    assert read(path)["figures"] == {"tick_s": 0.5}
    result.fail(VerdictError("silver: 1 rows missing"))
    assert read(path)["figures"] == {}
    assert "1 rows missing" in read(path)["verdict"]
    assert charts.main(["--result", str(path), "--docs", str(tmp_path)]) == 1
    assert not (tmp_path / "performance.md").exists()


def test_the_page_has_each_figure_and_its_charts(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    result = begun(path)
    system = {
        "events": 1_000,
        "events_per_s": 10,
        "cpu_us_per_event": 1.5,
        "events_per_core_s": 20,
        "peak_rss_mib": 30,
        "rounds": [{"output_bytes": 5_000}],
    }
    result.system("ours", system)
    result.system("spark", system)
    result.skip("dlt", "it is <not> there")
    result.add("systems", Outcome(figures={"core_ratio_to_spark": 2.0}, spread={"core_ratio_to_spark": (1.9, 2.1)}))
    result.add(
        "incremental",
        Outcome(
            figures={"incremental_share": 0.04},
            details={"table_partitions": 150, "touch_cpu_s": [1.0, 2.0, 3.0], "anew_cpu_s": [50.0, 60.0, 40.0]},
        ),
    )
    result.finish()
    assert charts.main(["--result", str(path), "--docs", str(tmp_path)]) == 0
    page = (tmp_path / "performance.md").read_text()
    assert "| 2 **missed** | ≥ 3 | 1.9 … 2.1 |" in page
    assert "| 0.04 | ≤ 0.05 |" in page
    assert "`growth`" in page
    assert "not measured: it is <not> there" in page
    for name in ("bench-throughput", "bench-memory", "bench-incremental"):
        assert f"images/{name}.svg" in page
        assert ET.parse(tmp_path / "images" / f"{name}.svg").getroot().tag.endswith("svg")
