"""Time to loss of each dataset, reported without launching runs."""

import json
import time

import dagster as dg

from dagster_project.checks import retention
from dagster_project.contract.model import Catalog
from dagster_project.errors import LakehouseError
from dagster_project.ingest.horizon import horizons
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource

INTERVAL_S = 30
# An unchanged verdict is told again this often: recent enough to be believed, rare enough not to fill the event log.
_REPEAT_S = 600.0


def retention_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Evaluates time to loss; the cursor only remembers what was said last, so losing it repeats a verdict."""

    @dg.sensor(
        name="retention",
        description="Evaluates how long until the broker deletes what Bronze has not read.",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def time_to_loss(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            found = horizons(catalog.datasets, storage=lake.storage(), bootstrap_servers=kafka.bootstrap())
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        now = time.time()
        said: dict[str, tuple[str, float]] = json.loads(context.cursor) if context.cursor else {}
        events: list[dg.AssetCheckEvaluation] = []
        for horizon in found:
            state, when = said.get(horizon.dataset, ("", 0.0))
            if state != horizon.state or now - when > _REPEAT_S:
                events.append(retention.evaluate(horizon))
                said[horizon.dataset] = (horizon.state, now)
        return dg.SensorResult(asset_events=events, cursor=json.dumps(said))

    return time_to_loss
