"""The exporter beside a real broker and real tables: it outlives runs, and whoever does not answer."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_project.errors import KafkaError
from dagster_project.metrics import lake as tables
from dagster_project.metrics import topics
from dagster_project.metrics.exporter import Exporter
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY
from dagster_project.sources.orders import Orders
from dagster_project.topics.broker import Broker
from tests.integration.lake import PATIENCE, Lake, command, environment, free_port
from tests.unit.metrics.scrape import by, parsed

EVENTS = 3000


def scrape(
    exporter: Exporter, *, patience: float | None = PATIENCE
) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    return parsed(exporter.text(exporter.samples(patience=patience)))


def test_lag_falls_and_rows_appear_as_runs_come_and_go(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    there = [True]

    def bootstrap() -> str:
        if not there[0]:
            raise KafkaError("no broker")
        return lake.servers

    exporter = Exporter(
        [
            tables.source(lake.catalog, storage=lake.storage),
            topics.source(lake.catalog, storage=lake.storage, bootstrap=bootstrap),
        ]
    )
    lake.produce(Orders(dataset=lake.dataset, events=EVENTS, seed=7, duplicates=0.05, late=0.03, poison=0.01))
    topic = Broker(lake.servers).topic(lake.dataset.topic.name)

    found = scrape(exporter)
    lag = {str(partition): end - topic.first[partition] for partition, end in topic.end.items()}
    assert by(found, "lakehouse_lag_records", "partition", dataset="orders") == lag
    assert sum(lag.values()) >= EVENTS
    (waited,) = found["lakehouse_lag_seconds"].values()
    assert 0 < waited < 600
    (left,), (warning,) = (found[f"lakehouse_time_to_loss_{name}"].values() for name in ("seconds", "warning_seconds"))
    assert left > warning > 0
    assert by(found, "lakehouse_topic_state", "state") == {"safe": 1, "soon": 0, "lost": 0, "unknown": 0}

    lake.ingest()
    lake.refine()
    lake.compute()
    found = scrape(exporter)
    assert set(by(found, "lakehouse_lag_records", "partition").values()) == {0}
    assert set(found["lakehouse_lag_seconds"].values()) == {0}
    bronze = lake.bronze()
    assert by(found, "lakehouse_rows", "fate", layer="bronze") == {
        "event": 0,
        "poison": 0,
        "tombstone": 0,
        **dict(bronze.group_by("_kind").len().iter_rows()),
    }
    recent = by(found, "lakehouse_recent_rows", "fate", window="5m")
    assert recent == {
        "rows": len(bronze),
        "poison": bronze["_error"].count(),
        "drifted": bronze["_rescued"].count(),
        "late": bronze["_late_us"].count(),
    }
    quarantine = lake.quarantine()["_reasons"].explode().value_counts().iter_rows()
    assert by(found, "lakehouse_quarantined_rows", "rule") == dict(quarantine)

    # The broker goes: what is in the tables is still told, and that the broker does not answer.
    there[0] = False
    found = scrape(exporter)
    assert by(found, "lakehouse_source_up", "source") == {"lake": 1, "broker": 0}
    assert sum(by(found, "lakehouse_rows", "fate", layer="bronze").values()) == len(bronze)
    there[0] = True
    assert by(scrape(exporter, patience=None), "lakehouse_source_up", "source") == {"lake": 1, "broker": 1}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_it_serves_until_it_is_interrupted(home: Path) -> None:
    port = free_port()
    variables = environment(home=home, project=REPOSITORY)  # without a broker
    with subprocess.Popen(
        command("metrics", "serve", "--port", str(port)),
        env=variables,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            assert f"http://127.0.0.1:{port}/metrics" in process.stderr.readline()
            began = time.monotonic()
            with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=PATIENCE) as answer:
                found = parsed(answer.read().decode())
            assert by(found, "lakehouse_source_up", "source")["broker"] == 0
            assert found["lakehouse_scrape_seconds"][frozenset()] <= time.monotonic() - began
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
        finally:
            process.kill()
