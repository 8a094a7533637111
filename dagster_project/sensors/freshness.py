"""Freshness of each region, reported without launching runs."""

import datetime as dt
import json

import dagster as dg

from dagster_project.checks import freshness
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.resources.lake import LakeResource

INTERVAL_S = 30
# An unchanged verdict is told again this often: recent enough to be believed, rare enough not to fill the event log.
_REPEAT_S = 600.0


def freshness_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Evaluates the freshness checks; the cursor only remembers what was said last, so losing it repeats a verdict."""

    @dg.sensor(
        name="freshness",
        description="Evaluates how old the newest event of each region is, against the contract's SLO.",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def freshness_by_region(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        now = dt.datetime.now(dt.UTC)
        said: dict[str, tuple[bool, float]] = json.loads(context.cursor) if context.cursor else {}
        events: list[dg.AssetCheckEvaluation] = []
        for dataset in catalog.datasets:
            silver = lake.find(specs.silver(dataset))[f"silver/{dataset.table}"]
            if silver is None:
                continue
            for evaluation in freshness.evaluate(dataset, silver, now=now):
                name = f"{dataset.name}/{evaluation.check_name}"
                passed, when = said.get(name, (not evaluation.passed, 0.0))
                if passed != evaluation.passed or now.timestamp() - when > _REPEAT_S:
                    events.append(evaluation)
                    said[name] = (evaluation.passed, now.timestamp())
        return dg.SensorResult(asset_events=events, cursor=json.dumps(said))

    return freshness_by_region
