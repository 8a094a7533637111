"""Alerts: one tick looks at the platform, decides, writes it down and tells. It launches nothing."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from dagster_project.alerts.alert import Id
from dagster_project.alerts.config import Config, load
from dagster_project.alerts.decide import Memory
from dagster_project.alerts.facts import Facts, FailedRun, Imbalance
from dagster_project.alerts.log import Log
from dagster_project.alerts.look import look
from dagster_project.alerts.watch import local_path, watch
from dagster_project.assets.dlq import publish_job_name
from dagster_project.assets.jobs import aggregate_job_name, catch_up_job_name, home, refine_job_name
from dagster_project.assets.maintenance import maintenance_jobs
from dagster_project.assets.shards import SHARD_TAG, read_by
from dagster_project.checks import accounting
from dagster_project.contract.model import Catalog
from dagster_project.contract.publishing import APPEND_ONLY
from dagster_project.errors import ConfigurationError
from dagster_project.naming import asset_key, check_name
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.accounting import verify_job_name
from dagster_project.sensors.kafka_lag import ingest_job_name
from dagster_project.settings import Settings

# Of the hold-downs (`alerts/kinds.py`) the shortest is 15 s; an election of a leader should be over between two looks.
INTERVAL_S = 10
# Nightly work has come round by then; what has not been tried again since is nobody's trouble any more.
_BACK = dt.timedelta(hours=25)
# Failures of a bad hour, at one each ten seconds or so; those beyond it are older tries of the same.
_MOST = 100
# Of an error, for a message on a phone.
_CHARACTERS = 300
# Where these stop the account, the broker does not answer; that is no imbalance.
_NO_ANSWER = {"KafkaError", "ServiceError"}


def alerts_sensor(catalog: Catalog, *, settings: Settings) -> dg.SensorDefinition:
    """Evaluates all alerts; its cursor only remembers hold-downs, so losing it makes an alert come or end later."""
    jobs = _jobs(catalog)
    checks = _checks(catalog)

    @dg.sensor(
        name="alerts",
        description="Decides which alerts begin, go on and end, and notifies the sinks of alerts.yaml.",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource, cache: CacheResource
    ) -> dg.SensorResult:
        now = _now()
        storage = lake.storage()
        runs = _failed(context.instance, jobs, since=now - _BACK)
        imbalances, checking = _imbalances(context.instance, checks)
        facts = Facts(runs=runs, imbalances=imbalances, checking=checking)
        found = look(catalog, storage=storage, servers=kafka.bootstrap, cache=cache.cache(), facts=facts, now=now)
        config, problem = _config(settings)
        report = watch(
            found.seen,
            storage=storage if found.store_up else None,
            path=local_path(settings.home),
            catalog=catalog,
            config=config,
            memory=_remembered(context.cursor),
            now=now,
        )
        told = [f"{alert.id}: {alert.state}" for alert in report.transitions]
        open_ = [f"{len(report.open)} open: {', '.join(str(alert.id) for alert in report.open)}"] if report.open else []
        text = "; ".join([*told, *open_, *problem, *report.notes]) or "nothing is wrong"
        return dg.SensorResult(skip_reason=text, cursor=_spelled(report.memory))

    return alerts


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _config(settings: Settings) -> tuple[Config, list[str]]:
    """Where to tell; a file with mistakes must not silence the alerts, so the log stands in."""
    try:
        return load(settings.project), []
    except ConfigurationError as error:
        return Config(sinks={"log": Log()}), [f"alerts go to the log only: {error}"]


def _jobs(catalog: Catalog) -> dict[str, tuple[str, str]]:
    """By job, whose work it does and which; jobs of the same work stand in for each other."""
    jobs: dict[str, tuple[str, str]] = {}
    for dataset in catalog.datasets:
        jobs[ingest_job_name(dataset)] = dataset.name, "ingest"
        jobs[publish_job_name(dataset)] = dataset.name, "dead_letters"
    for version in catalog.every_version():
        major = version.table.removeprefix(version.name)
        jobs |= dict.fromkeys([refine_job_name(version), catch_up_job_name(version)], (version.name, f"refine{major}"))
        jobs[verify_job_name(version)] = version.name, f"verify{major}"
        jobs |= {name: (version.name, name) for name in maintenance_jobs(version, catalog)}
    for mart in catalog.marts:
        dataset = home(catalog, mart)
        jobs[aggregate_job_name(mart)] = mart.name if dataset is None else dataset.name, mart.name
    return jobs


def _failed(
    instance: dg.DagsterInstance, jobs: Mapping[str, tuple[str, str]], *, since: dt.datetime
) -> tuple[FailedRun, ...]:
    failures = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since), limit=_MOST
    )
    newest: dict[tuple[tuple[str, str], str | None], dg.RunRecord] = {}
    for record in failures:  # the newest first
        # Of what a person launched by hand from the asset graph that person hears.
        if record.dagster_run.job_name in jobs:
            shard = record.dagster_run.tags.get(SHARD_TAG)
            newest.setdefault((jobs[record.dagster_run.job_name], shard), record)
    still: dict[tuple[str, str], dg.RunRecord] = {}
    for (what, _), record in newest.items():
        if not _succeeded(instance, [name for name, own in jobs.items() if own == what], record):
            still.setdefault(what, record)  # one shard that fails stands for all that do
    return tuple(
        FailedRun(
            owner=owner,
            work=work,
            job=record.dagster_run.job_name,
            run_id=record.dagster_run.run_id,
            at=record.update_timestamp,
            error=_error(instance, record.dagster_run.run_id),
        )
        for (owner, work), record in still.items()
    )


def _succeeded(instance: dg.DagsterInstance, jobs: list[str], failure: dg.RunRecord) -> bool:
    """Whether the same work was done since, by whichever job does it; of a shard, by a run that read some of it."""
    shard = read_by(failure.dagster_run)
    since = [
        dg.RunsFilter(job_name=name, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=failure.update_timestamp)
        for name in jobs
    ]
    return any(
        shard.meets(read_by(record.dagster_run))
        for asked in since
        for record in instance.get_run_records(asked, limit=1 if shard.whole else _MOST)
    )


def _error(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a run says of its failure."""
    for kind in (DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE):
        for record in instance.get_records_for_run(run_id, of_type=kind, limit=1).records:
            event = record.event_log_entry.get_dagster_event()
            if kind is DagsterEventType.STEP_FAILURE:
                data = event.step_failure_data
                told = data.user_failure_data.description if data.user_failure_data else None
                return _first(told or (data.error.message if data.error else event.message or ""))
            return _first(event.message or "")
    return "it says nothing of why"


def _first(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "")
    return line[:_CHARACTERS]


def _checks(catalog: Catalog) -> dict[dg.AssetCheckKey, tuple[str, str]]:
    """By check of offsets or books, the dataset, and the mart of books."""
    checks: dict[dg.AssetCheckKey, tuple[str, str]] = {}
    for version in catalog.every_version():
        table = (
            asset_key("silver", version.table) if version in catalog.successors else asset_key("bronze", version.name)
        )
        checks[dg.AssetCheckKey(table, accounting.NAME)] = version.name, ""
    for mart in catalog.marts:
        if mart.consistency == "cp":
            dataset = home(catalog, mart)
            rules = [rule.id for rule in mart.rules if rule.severity == "error"]
            for rule in (*rules, *([APPEND_ONLY] if mart.append_only else [])):
                key = dg.AssetCheckKey(asset_key("gold", mart.name), check_name(rule))
                checks[key] = mart.name if dataset is None else dataset.name, mart.name
    return checks


def _imbalances(
    instance: dg.DagsterInstance, checks: Mapping[dg.AssetCheckKey, tuple[str, str]]
) -> tuple[tuple[Imbalance, ...], bool]:
    """Checks that are red, and whether any is being evaluated."""
    found: list[Imbalance] = []
    checking = False
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    for key, record in records.items():
        checking |= record.status is AssetCheckExecutionRecordStatus.PLANNED
        if record.status is not AssetCheckExecutionRecordStatus.FAILED or record.event is None:
            continue
        metadata = record.event.get_dagster_event().asset_check_evaluation_data.metadata
        facts = {name: value.value for name, value in metadata.items()}
        if facts.get(accounting.ERROR) in _NO_ANSWER:
            continue
        dataset, mart = checks[key]
        what: Any = facts.get("problems") or facts.get("broken") or ""
        found.append(
            Imbalance(
                dataset=dataset,
                mart=mart,
                check=key.name,
                at=dt.datetime.fromtimestamp(record.create_timestamp, dt.UTC),
                found=_first(str(what)),
            )
        )
    return tuple(found), checking


def _remembered(cursor: str | None) -> Memory:
    found = json.loads(cursor) if cursor else {}
    held, clear = (_moments(found.get(name, [])) for name in ("held", "clear"))
    looked_at, blind_until = (_moment(found.get(name)) for name in ("looked_at", "blind_until"))
    return Memory(held=held, clear=clear, looked_at=looked_at, blind_until=blind_until)


def _moments(rows: list[list[str]]) -> dict[Id, dt.datetime]:
    return {Id(alert, scope): dt.datetime.fromisoformat(at) for alert, scope, at in rows}


def _moment(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def _spelled(memory: Memory) -> str:
    parts = {"held": memory.held, "clear": memory.clear}
    rows = {name: [[*id_, at.isoformat()] for id_, at in sorted(found.items())] for name, found in parts.items()}
    moments = {"looked_at": memory.looked_at, "blind_until": memory.blind_until}
    return json.dumps(rows | {name: at.isoformat() for name, at in moments.items() if at is not None})
