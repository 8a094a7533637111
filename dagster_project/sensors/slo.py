"""Service levels measured and judged, without launching runs."""

import datetime as dt
import json

import dagster as dg

from dagster_project.checks import slo as checks
from dagster_project.contract.model import Catalog
from dagster_project.errors import StaleCursorError
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.slo.budget import INTERVAL_S
from dagster_project.slo.cached import shown_in
from dagster_project.slo.measure import measure
from dagster_project.slo.status import status

# An unchanged verdict is told again this often: recent enough to be believed, rare enough not to fill the event log.
_REPEAT_S = 600.0


def slo_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Measures everything and evaluates the checks; the cursor only remembers what was said last, so losing it repeats a verdict."""

    @dg.sensor(
        name="slo",
        description="Measures lag, freshness, latency, completeness and availability, and judges their error budgets.",
        minimum_interval_seconds=int(INTERVAL_S),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def service_levels(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource, cache: CacheResource
    ) -> dg.SensorResult | dg.SkipReason:
        storage = lake.storage()
        try:
            done = measure(
                catalog,
                storage=storage,
                bootstrap=kafka.bootstrap,
                now=dt.datetime.now(dt.UTC),
                cached=shown_in(cache.cache()),
            )
        except StaleCursorError as error:
            return dg.SkipReason(error.found)
        for problem in () if done is None else done.problems:
            context.log.warning(problem)
        now = dt.datetime.now(dt.UTC)
        found = status(catalog, storage=storage, now=now)
        said: dict[str, tuple[bool, float]] = json.loads(context.cursor) if context.cursor else {}
        events: list[dg.AssetCheckEvaluation] = []
        for evaluation in (one for dataset in catalog.datasets for one in checks.evaluate(dataset, found)):
            name = f"{evaluation.asset_key.to_user_string()}/{evaluation.check_name}"
            passed, when = said.get(name, (not evaluation.passed, 0.0))
            if passed != evaluation.passed or now.timestamp() - when > _REPEAT_S:
                events.append(evaluation)
                said[name] = (evaluation.passed, now.timestamp())
        return dg.SensorResult(asset_events=events, cursor=json.dumps(said))

    return service_levels
