"""A scrape is answered in time whatever the sources do, and says which of them it could not ask."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from dagster_project.errors import LakeError, ServiceError
from dagster_project.metrics import exporter as module
from dagster_project.metrics.exporter import Exporter
from dagster_project.metrics.family import Family, Sample, Source
from dagster_project.metrics.runs import Failed
from dagster_project.metrics.runs import source as runs
from dagster_project.metrics.serve import serving
from dagster_project.services.exposed import Exposed
from dagster_project.services.ports import LOOPBACK
from tests.unit.metrics.scrape import by, parsed

LOCAL = Exposed(what="the exporter", variable="LAKEHOUSE_METRICS_TOKEN", host=LOOPBACK)
ONE = Family(name="lakehouse_one", help="One", unit="1", labels=("of",))
TWO = Family(name="lakehouse_two", help="Two", unit="1")
# Long enough for a source that does its work, on a busy machine.
PLENTY = 20.0


class Gate:
    """A source that waits until it is let through."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = 0

    def read(self, now: float) -> Iterator[Sample]:
        self.asked += 1
        self.open.wait(60)
        yield TWO.of(now)


def quick(now: float) -> Iterator[Sample]:
    yield ONE.of(1, "a")


def scrape(exporter: Exporter, patience: float | None = PLENTY) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    return parsed(exporter.text(exporter.samples(patience=patience)))


def test_a_source_that_hangs_holds_up_nothing_and_is_not_asked_again_meanwhile() -> None:
    gate = Gate()
    exporter = Exporter(
        [Source(name="q", families=(ONE,), read=quick), Source(name="g", families=(TWO,), read=gate.read)]
    )
    try:
        for _ in range(3):
            found = scrape(exporter, patience=0.3)
            assert found["lakehouse_one"] == {frozenset({("of", "a")}): 1}
            assert found["lakehouse_two"] == {}
            assert by(found, "lakehouse_source_up", "source") == {"q": 1, "g": 0}
            assert found["lakehouse_scrape_seconds"][frozenset()] >= 0.3
        assert gate.asked == 1
    finally:
        gate.open.set()
    # What it says late is said at the next scrape.
    found = scrape(exporter)
    assert by(found, "lakehouse_source_up", "source") == {"q": 1, "g": 1}
    assert len(found["lakehouse_two"]) == 1


def test_what_was_found_long_ago_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    gate.open.set()
    exporter = Exporter([Source(name="g", families=(TWO,), read=gate.read)])
    assert len(scrape(exporter)["lakehouse_two"]) == 1
    gate.open.clear()
    try:
        assert len(scrape(exporter, patience=0.01)["lakehouse_two"]) == 1  # a moment ago
        monkeypatch.setattr(module, "_STALE_S", 0.0)
        found = scrape(exporter, patience=0.01)
        assert found["lakehouse_two"] == {}
        assert by(found, "lakehouse_source_up", "source") == {"g": 0}
        assert by(found, "lakehouse_source_age_seconds", "source")["g"] > 0
    finally:
        gate.open.set()


@pytest.mark.parametrize("error", [LakeError("no store"), ZeroDivisionError("a fault")])
def test_a_source_that_fails_is_down_until_it_answers_and_told_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [error]

    def read(now: float) -> Iterator[Sample]:
        if broken:
            raise broken[0]
        return quick(now)

    exporter = Exporter([Source(name="s", families=(ONE,), read=read)])
    for _ in range(3):
        assert by(scrape(exporter), "lakehouse_source_up", "source") == {"s": 0}
    assert exporter.silent() == ["s"]
    assert sum(f"s: {type(error).__name__}" in text or "s: no store" in text for text in caplog.messages) == 1
    broken.clear()
    assert by(scrape(exporter), "lakehouse_source_up", "source") == {"s": 1}
    assert exporter.silent() == []
    assert "answers again" in caplog.text


def test_metrics_are_served_over_http_and_a_taken_port_is_told() -> None:
    exporter = Exporter([Source(name="q", families=(ONE,), read=quick)])
    with serving(exporter, exposed=LOCAL, port=0) as port:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert parsed(answer.read().decode())["lakehouse_one"] == {frozenset({("of", "a")}): 1}
        with pytest.raises(ServiceError, match="--port"), serving(exporter, exposed=LOCAL, port=port):
            pass


def test_failed_runs_are_counted_by_the_time_since() -> None:
    now = time.time()
    asked: list[float] = []

    def failures(since: float) -> dict[str, Failed]:
        asked.append(since)
        return {
            "ingest_orders": Failed(at=[now - 30, now - 700], still=True),
            "maintain": Failed(at=[now - 3000], still=False),
        }

    found = {(s.family.name, *s.labels): s.value for s in runs(failures).read(now)}
    assert asked == [now - 3600]
    assert found == {
        ("lakehouse_failed_runs", "ingest_orders", "10m"): 1,
        ("lakehouse_failed_runs", "ingest_orders", "1h"): 2,
        ("lakehouse_failed_runs", "maintain", "10m"): 0,
        ("lakehouse_failed_runs", "maintain", "1h"): 1,
        ("lakehouse_job_failing", "ingest_orders"): 1,
        ("lakehouse_job_failing", "maintain"): 0,
    }


def test_dagsters_failed_runs_are_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    import dagster as dg
    from dagster._core.test_utils import create_run_for_test

    from dagster_project.launcher.history import failures

    home = tmp_path_factory.mktemp("instance")
    began = time.time() - 1
    assert failures(home, began) == {}  # Dagster was never started
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    # In this order: a job whose last run that has ended failed, one that has succeeded since, and two without a failure.
    done = [("a", "SUCCESS"), ("a", "FAILURE"), ("a", "STARTED"), ("b", "FAILURE"), ("b", "FAILURE"), ("b", "SUCCESS")]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for job, status in [*done, ("c", "SUCCESS"), ("d", "STARTED")]:
            create_run_for_test(instance, job_name=job, status=dg.DagsterRunStatus[status])
    found = failures(home, began)
    assert {job: (len(failed.at), failed.still) for job, failed in found.items()} == {"a": (1, True), "b": (2, False)}
    assert all(began <= moment <= time.time() + 1 for failed in found.values() for moment in failed.at)
    assert failures(home, time.time() + 5) == {}


def test_show_prints_text_and_json(tmp_path_factory: pytest.TempPathFactory) -> None:
    from typer.testing import CliRunner

    from dagster_project.cli.main import app
    from dagster_project.settings import REPOSITORY

    home = tmp_path_factory.mktemp("home")
    variables = {
        "LAKEHOUSE_HOME": str(home),
        "LAKEHOUSE_PROJECT": str(REPOSITORY),
        "LAKEHOUSE_URI": "",
        "KAFKA_BOOTSTRAP_SERVERS": "",
    }
    text, as_json = (CliRunner().invoke(app, ["metrics", "show", *form], env=variables) for form in ([], ["--json"]))
    # No broker was started here, and the others answer.
    assert (text.exit_code, as_json.exit_code) == (1, 1)
    up = by(parsed(text.stdout), "lakehouse_source_up", "source")
    assert up["broker"] == 0
    assert {name for name, value in up.items() if value} >= {"lake", "objectives", "runs"}
    found = json.loads(as_json.stdout)
    assert {"name": "lakehouse_source_up", "labels": {"source": "lake"}, "value": 1.0} in found
