"""Accounting after the work is done: a check run for each dataset that has changed since it was last accounted for.

Now and then for the others too: tables are damaged and events deleted also where nothing new arrives.
"""

import json
import time
from collections.abc import Iterable
from typing import Any

import dagster as dg

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.cursor import BATCH
from dagster_project.lake import specs
from dagster_project.lake.serving import written
from dagster_project.refine.plan import pending_silver
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.launch import Runs

INTERVAL_S = 30
# Accounting reads every coordinate of the dataset: soon once the stream rests, and at least so often while it does not.
_WHEN_IDLE_S, _WHEN_BUSY_S = 300.0, 3600.0
# Without any change: how long a loss or damage may go unnoticed, against some seconds of work.
_ANYWAY_S = 900.0


def verify_job_name(dataset: Dataset) -> str:
    return f"verify_{dataset.table}"


def accounting_sensor(catalog: Catalog, *, jobs: Iterable[Any]) -> dg.SensorDefinition:
    """Requests for datasets with batches that no account has covered; losing the cursor only accounts once more."""

    @dg.sensor(
        name="accounting",
        description="Accounts for every offset of the datasets that have changed.",
        jobs=list(jobs),
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def accounting(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        done: dict[str, tuple[int, float]] = json.loads(context.cursor) if context.cursor else {}
        requests: list[dg.RunRequest] = []
        runs = Runs(context.instance)
        storage = lake.storage()
        for dataset in (item for name in catalog.names() for item in written(catalog, name, storage=storage)):
            tables = lake.find(specs.bronze(dataset), specs.silver(dataset))
            bronze = tables[f"bronze/{dataset.name}"]
            if bronze is None or BATCH not in bronze.cursors():
                continue
            batch, when = done.get(dataset.table, (-1, 0.0))
            newest = bronze.cursors()[BATCH]
            changed = _WHEN_BUSY_S if pending_silver(dataset, tables) else _WHEN_IDLE_S
            wait = _ANYWAY_S if newest == batch else changed
            if time.time() - when < wait or runs.reason_to_wait(verify_job_name(dataset)):
                continue
            requests.append(dg.RunRequest(job_name=verify_job_name(dataset)))
            done[dataset.table] = (newest, time.time())
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(done))

    return accounting
