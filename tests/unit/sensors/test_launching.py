"""What the sensors ask Dagster to run, from committed state and the runs that Dagster knows."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_project.assets.partitions import table_key
from dagster_project.checks import freshness
from dagster_project.contract.model import Catalog
from dagster_project.definitions import build
from dagster_project.lake.keys import Key
from dagster_project.refine.plan import pending_silver
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors import accounting as accounting_sensors
from dagster_project.sensors import freshness as freshness_sensors
from dagster_project.sensors import launch as launching
from dagster_project.sensors.launch import Runs
from dagster_project.settings import Settings
from tests.unit.lakes import Lake, reading, tombstone

JOB = "refine_readings"


@pytest.fixture(scope="module")
def repository(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> dg.RepositoryDefinition:
    home = tmp_path_factory.mktemp("home")
    return build(
        catalog, Settings(home=home, project=home, lake_uri=str(home), bootstrap_servers="")
    ).get_repository_def()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def tick(
    repository: dg.RepositoryDefinition, name: str, lake: Lake, instance: dg.DagsterInstance, cursor: str | None = None
) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(
        instance, cursor=cursor, resources={"lake": LakeResource(uri=lake.storage.uri)}, repository_def=repository
    )
    found = repository.get_sensor_def(name)(context)
    assert isinstance(found, (dg.SensorResult, dg.SkipReason))
    return found


def requests(found: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    return list(found.run_requests or []) if isinstance(found, dg.SensorResult) else []


def covered(repository: dg.RepositoryDefinition, request: dg.RunRequest) -> list[Key]:
    """The keys that Dagster itself makes of a request's range."""
    partitions = repository.assets_defs_by_key[dg.AssetKey(["silver", "readings"])].partitions_def
    assert isinstance(partitions, dg.MultiPartitionsDefinition)
    ends = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    return [table_key(name) for name in partitions.get_partition_keys_in_range(dg.PartitionKeyRange(*ends))]


def test_nothing_to_do(repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance) -> None:
    found = tick(repository, "bronze_changes", lake, instance)
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == "everything is current"


def test_few_keys_become_ranges_that_cover_exactly_them(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(*(reading(number, f"k{number}", day=day, region=region) for number, (day, region) in enumerate(
        [(1, "eu"), (1, "us"), (2, "eu"), (2, "us"), (7, "eu")])))  # fmt: skip
    found = requests(tick(repository, "bronze_changes", lake, instance))
    assert {request.job_name for request in found} == {JOB}
    keys = [key for request in found for key in covered(repository, request)]
    assert sorted(keys) == sorted(pending_silver(lake.dataset, lake.tables()))
    assert len(keys) == 5
    assert len(found) == 2
    # The same state asks for the same again: nothing is remembered between ticks.
    assert requests(tick(repository, "bronze_changes", lake, instance)) == found
    lake.refine()
    assert len(requests(tick(repository, "bronze_changes", lake, instance))) == 2  # Gold is still to be computed
    lake.compute()
    assert requests(tick(repository, "bronze_changes", lake, instance)) == []


def test_scattered_keys_are_caught_up_with(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(*(reading(number, f"k{number}", day=day) for number, day in enumerate([1, 3, 5])))
    (request,) = requests(tick(repository, "bronze_changes", lake, instance))
    assert request.job_name == "catch_up_readings"


def test_deletes_are_caught_up_with(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(tombstone(0, "a"))
    (request,) = requests(tick(repository, "bronze_changes", lake, instance))
    assert request.job_name == "catch_up_readings"
    assert "dagster/asset_partition_range_start" not in request.tags


def test_a_backlog_is_caught_up_with(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    first = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    moved = [
        replace(
            message,
            payload=(message.payload or b"").replace(b"2026-01-01T12", day.strftime("%Y-%m-%dT12").encode()),
            sent=day,
        )
        for number in range(121)
        for message, day in [(reading(number, f"k{number}"), first + dt.timedelta(days=number))]
    ]
    lake.arrive(*moved)
    assert len(pending_silver(lake.dataset, lake.tables())) == 121
    (request,) = requests(tick(repository, "bronze_changes", lake, instance))
    assert request.job_name == "catch_up_readings"


def test_a_running_job_is_waited_for(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(reading(0))
    run = create_run_for_test(instance, job_name=JOB, status=dg.DagsterRunStatus.STARTED)
    found = tick(repository, "bronze_changes", lake, instance)
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == f"{JOB} is running ({run.run_id[:8]})"


def test_a_live_stream_is_followed_by_one_run(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(reading(0))
    create_run_for_test(instance, job_name="ingest_readings", status=dg.DagsterRunStatus.STARTED)
    (request,) = requests(tick(repository, "bronze_changes", lake, instance))
    assert request.job_name == "catch_up_readings"

    lake.refine()
    lake.compute()
    assert requests(tick(repository, "bronze_changes", lake, instance)) == []


def test_what_a_following_run_will_do_is_not_asked_for_again(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(reading(0))
    run = create_run_for_test(instance, job_name="catch_up_readings", status=dg.DagsterRunStatus.STARTED)
    found = tick(repository, "bronze_changes", lake, instance)
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message is not None
    assert f"catch_up_readings is doing it ({run.run_id[:8]})" in found.skip_message


def end(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, job_name: str = JOB) -> None:
    run = create_run_for_test(instance, job_name=job_name, status=dg.DagsterRunStatus.STARTED)
    if status == dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run)
    else:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=job_name),
            run_id=run.run_id,
        )


@pytest.mark.parametrize(("failures", "wait"), [(1, 1), (2, 5), (4, 20), (8, 300), (10, 300)])
def test_failures_are_waited_for_ever_longer(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, failures: int, wait: int
) -> None:
    for _ in range(failures):
        end(instance, dg.DagsterRunStatus.FAILURE)
    ended = instance.get_run_records(limit=1)[0].end_time
    assert ended is not None
    monkeypatch.setattr(time, "time", lambda: ended + wait - 1)
    assert Runs(instance).reason_to_wait(JOB) == f"{JOB} failed {min(failures, 8)} times in a row; next try in 1 s"
    monkeypatch.setattr(time, "time", lambda: ended + wait + 1)
    assert Runs(instance).reason_to_wait(JOB) is None


def test_a_run_at_work_is_waited_for_however_many_there_are(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(instance, dg.DagsterRunStatus.FAILURE, "failing")
    run = create_run_for_test(instance, job_name=JOB, status=dg.DagsterRunStatus.STARTING)
    for number in range(3):
        create_run_for_test(instance, job_name=f"other_{number}", status=dg.DagsterRunStatus.STARTED)
    for most in (500, 3):
        monkeypatch.setattr(launching, "_MOST", most)
        runs = Runs(instance)
        assert runs.reason_to_wait(JOB) == f"{JOB} is running ({run.run_id[:8]})"
        assert runs.reason_to_wait("idle") is None
        assert "failing failed 1 times" in (runs.reason_to_wait("failing") or "")


def test_a_success_ends_the_waiting(instance: dg.DagsterInstance) -> None:
    assert Runs(instance).reason_to_wait(JOB) is None
    end(instance, dg.DagsterRunStatus.FAILURE)
    end(instance, dg.DagsterRunStatus.FAILURE, "another")
    assert Runs(instance).reason_to_wait(JOB) is not None
    end(instance, dg.DagsterRunStatus.SUCCESS)
    assert Runs(instance).reason_to_wait(JOB) is None
    assert Runs(instance).reason_to_wait("another") is not None


def test_freshness_of_each_region(lake: Lake) -> None:
    lake.arrive(
        reading(0, "a", at=60), reading(1, "b", at=30), reading(2, "c", region="us", at=10), tombstone(3, "b", at=900)
    )
    lake.refine()
    at = dt.datetime(2026, 1, 1, 2, 0, 0, tzinfo=dt.UTC)  # an hour after the newest event of eu; that is the SLO
    eu, us = freshness.evaluate(lake.dataset, lake.silver, now=at)
    assert (eu.check_name, eu.passed, eu.metadata["age_seconds"].value) == ("freshness_eu", True, 3600.0)
    assert (us.check_name, us.passed, us.metadata["age_seconds"].value) == ("freshness_us", False, 6600.0)
    assert not freshness.evaluate(lake.dataset, lake.silver, now=at + dt.timedelta(seconds=1))[0].passed
    assert [one.passed for one in freshness.evaluate(lake.dataset, None, now=at)] == [False, False]
    assert freshness.check_name("a.b-c") == "freshness_a_b_c"


def test_a_verdict_is_told_when_it_changes_and_now_and_then(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(cursor: str | None) -> tuple[list[tuple[str, bool]], str]:
        found = tick(repository, "freshness", lake, instance, cursor)
        assert isinstance(found, dg.SensorResult)
        assert found.cursor is not None
        evaluations = [event for event in found.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        return [(one.check_name or "", one.passed) for one in evaluations], found.cursor

    assert told(None)[0] == []  # no table, nothing to say
    lake.arrive(reading(0))
    lake.refine()
    stale = [("freshness_eu", False), ("freshness_us", False)]
    said, cursor = told(None)
    assert said == stale
    said, cursor = told(cursor)
    assert said == []
    # A verdict that was another one is told at once.
    turned = {
        name: [True, when] if name.endswith("eu") else [passed, when]
        for name, (passed, when) in json.loads(cursor).items()
    }
    assert told(json.dumps(turned))[0] == stale[:1]
    monkeypatch.setattr(freshness_sensors, "_REPEAT_S", -1.0)
    assert told(cursor)[0] == stale


def test_accounts_are_asked_for_when_batches_have_come(
    repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(cursor: str | None) -> tuple[list[str | None], str | None]:
        found = tick(repository, "accounting", lake, instance, cursor)
        assert isinstance(found, dg.SensorResult)
        return [request.job_name for request in requests(found)], found.cursor

    assert asked(None)[0] == []
    lake.arrive(reading(0))
    lake.refine()
    jobs, cursor = asked(None)
    assert jobs == ["verify_readings"]
    assert asked(cursor)[0] == []
    lake.arrive(reading(1, "b"))
    lake.refine()
    assert asked(cursor)[0] == []  # too soon
    monkeypatch.setattr(accounting_sensors, "_WHEN_IDLE_S", 0.0)
    jobs, after = asked(cursor)
    assert jobs == ["verify_readings"]
    assert asked(after)[0] == []
    monkeypatch.setattr(accounting_sensors, "_ANYWAY_S", 0.0)
    assert asked(after)[0] == ["verify_readings"]  # damage and loss need no new batch
    create_run_for_test(instance, job_name="verify_readings", status=dg.DagsterRunStatus.STARTED)
    assert asked(cursor)[0] == []


def test_a_doubled_key_fails_the_check(lake: Lake, tmp_path: Path) -> None:
    from dagster_project.checks import silver as checks
    from dagster_project.refine.silver import refine

    lake.arrive(reading(0, "a"), reading(1, "b", level=-1))
    commits = list(refine(lake.dataset, storage=lake.storage, keys=None))
    asset = dg.AssetKey(["silver", "readings"])
    unique, rate, _, *gates = checks.results(lake.dataset, lake.silver, commits, asset)
    assert unique.passed
    assert not rate.passed  # one of two rows, and the contract allows one in twenty
    assert rate.metadata["rows_quarantined"].value == 1
    assert [(gate.check_name, gate.passed) for gate in gates] == [("gate_eu", True), ("gate_us", True)]
    lake.silver.commit(lake.silver.rows().collect(), cursors={})
    unique, *_ = checks.results(lake.dataset, lake.silver, commits, asset)
    assert not unique.passed
    assert unique.metadata["doubled_keys"].value == 1
