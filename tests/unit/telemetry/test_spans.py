"""Spans: nothing without a collector, and all that happened with one, also from a process that ends at once."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from multiprocessing import get_context
from pathlib import Path

import pytest

from dagster_project.telemetry import spans
from dagster_project.telemetry.run import run
from dagster_project.telemetry.spans import ENDPOINT, flush, span, traceparent
from tests.collector import Collector, collecting
from tests.unit.lakes import Lake, reading

RUN = str(uuid.uuid4())


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv(ENDPOINT, found.url)
        spans._provider.cache_clear()
        yield found
        if (provider := spans._provider()) is not None:
            provider.shutdown()
    spans._provider.cache_clear()


def test_without_a_collector_opentelemetry_is_not_imported_and_steps_are_timed() -> None:
    code = """
        import sys, time
        from dagster_project.ingest import bronze
        from dagster_project.telemetry.spans import flush, span, traceparent
        with span("step", follows=(1 / 0 for _ in "a"), dataset="orders") as step:
            step.note(rows=1)
            time.sleep(0.01)
        flush()
        print(step.seconds >= 0.01, traceparent() == "", any(name.startswith("opentelemetry") for name in sys.modules))
    """
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env={"PATH": "", "PYTHONPATH": ".", "LAKEHOUSE_HOME": "unused"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["True", "True", "False"]


def test_a_run_is_a_trace_with_its_id(collector: Collector, tmp_path: Path) -> None:
    with run(RUN, asset="bronze/orders", home=tmp_path), span("outer", dataset="orders"), span("inner") as inner:
        inner.note(rows=3, nothing=None, ids=["a", "b"])

    # They are there when the run has ended: nobody waits for a later sending.
    assert [found.name for found in collector.spans] == ["inner", "outer", "run"]
    inside, outside, whole = collector.spans
    assert {found.trace for found in collector.spans} == {uuid.UUID(RUN).hex}
    assert {found.service for found in collector.spans} == {"lakehouse"}
    assert (inside.parent, outside.parent, whole.parent) == (outside.id, whole.id, "")
    assert inside.attributes == {"lakehouse.rows": 3, "lakehouse.ids": ["a", "b"]}
    assert outside.attributes == {"lakehouse.dataset": "orders"}
    assert whole.attributes == {"lakehouse.run_id": RUN, "lakehouse.asset": "bronze/orders"}
    assert inside.seconds == pytest.approx(inner.seconds, abs=0.01)
    assert not any(found.failed for found in collector.spans)


def test_two_assets_of_a_run_are_one_trace(collector: Collector, tmp_path: Path) -> None:
    for asset in ("silver/orders", "gold/revenue"):
        with run(RUN, asset=asset, home=tmp_path):
            pass
    assert {found.trace for found in collector.spans} == {uuid.UUID(RUN).hex}
    assert [found.attributes["lakehouse.asset"] for found in collector.spans] == ["silver/orders", "gold/revenue"]


def test_what_a_thread_does_belongs_to_the_run(collector: Collector, tmp_path: Path) -> None:
    def work() -> None:
        with span("beside"):
            pass

    with run(RUN, asset="bronze/orders", home=tmp_path), ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, work).result()
    beside, whole = collector.spans
    assert (beside.trace, beside.parent) == (whole.trace, whole.id)


def test_what_failed_is_told(collector: Collector, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="no"),
        run(RUN, asset="bronze/orders", home=tmp_path),
        span("ingest.commit") as step,
    ):
        raise ValueError("no")
    assert [found.failed for found in collector.spans] == [True, True]
    assert step.seconds > 0


def test_a_span_leads_to_what_came_before(collector: Collector) -> None:
    with span("before"):
        text = traceparent()
    with span("after", follows=[text, "no trace context", ""]):
        pass
    flush()
    before, after = collector.spans
    assert re.fullmatch(f"00-{before.trace}-{before.id}-0[13]", text)
    assert after.links == (f"{before.trace}/{before.id}",)
    assert after.trace != before.trace


def test_commits_carry_the_trace_and_the_next_layer_leads_back(
    collector: Collector, lake: Lake, tmp_path: Path
) -> None:
    with span("ingest.commit"):
        lake.arrive(reading(0), reading(1, "b", level=-1))
    with run(RUN, asset="catch_up/readings", home=tmp_path):
        lake.refine()
        lake.compute()

    (ingested,), (refined,) = collector.named("ingest.commit"), collector.named("silver.commit")
    (fetched,), (computed,) = collector.named("silver.fetch"), collector.named("gold.recompute")
    assert fetched.links == (f"{ingested.trace}/{ingested.id}",)
    assert computed.links == (f"{refined.trace}/{refined.id}",)
    names = {found.name for found in collector.spans}
    assert names >= {"silver.fetch", "silver.gate", "silver.merge", "silver.commit", "gold.gate", "gold.commit"}
    (commit,) = lake.silver.commits(lake.silver.version)
    assert re.fullmatch(f"00-{refined.trace}-{refined.id}-0[13]", commit.info["traceparent"])


def test_without_a_collector_commits_carry_no_trace(lake: Lake) -> None:
    lake.arrive(reading(0))
    (commit,) = lake.bronze.commits(lake.bronze.version)
    assert "traceparent" not in commit.info


def _short_run(home: str) -> None:
    with run(RUN, asset="bronze/orders", home=Path(home)), span("ingest.fetch"):
        pass


def test_spans_of_a_forked_process_that_ends_at_once_arrive(collector: Collector, tmp_path: Path) -> None:
    # As runs are launched: such a process ends without the handlers that a program's end has.
    process = get_context("forkserver").Process(target=_short_run, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [found.name for found in collector.spans] == ["ingest.fetch", "run"]


def test_a_collector_that_is_away_is_logged_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as gone:
        monkeypatch.setenv(ENDPOINT, gone.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    spans._provider.cache_clear()
    try:
        with caplog.at_level(logging.WARNING), run(RUN, asset="bronze/orders", home=tmp_path):
            pass
        assert "export" in caplog.text
    finally:
        provider = spans._provider()
        assert provider is not None
        provider.shutdown()
        spans._provider.cache_clear()


def test_without_the_library_spans_are_left_out_and_one_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    spans._provider.cache_clear()
    try:
        with span("a"), span("b"):
            pass
        assert caplog.text.count("dagster-lakehouse[telemetry]") == 1
    finally:
        spans._provider.cache_clear()
