"""The cache against Gold: what it lacks is published in the tick itself, without a run, and told to the UI."""

import json
import time

import dagster as dg

from dagster_project.assets.serving import as_materialization
from dagster_project.contract.model import Catalog
from dagster_project.errors import LakehouseError
from dagster_project.lake import specs
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.lake import LakeResource
from dagster_project.serving.entry import entries
from dagster_project.serving.heal import heal

# A cache that is back is whole again about so soon; a look compares one version of each mart.
INTERVAL_S = 5
# A mart takes some milliseconds to publish. A tick that took longer than this would delay those of other sensors.
_WORK_S = 2.0
# What runs publish each second is told this often: recent enough to be believed, rare enough not to fill the event log.
_TELL_S = 60.0


def serving_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Publishes what runs could not; the cursor only remembers what the UI was told, so losing it tells it once more."""
    served = [mart for mart in catalog.marts if mart.serve is not None]

    @dg.sensor(
        name="serving",
        description="Fills the cache from Gold where it is behind, and tells what is served.",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def serving(
        context: dg.SensorEvaluationContext, lake: LakeResource, cache: CacheResource
    ) -> dg.SensorResult | dg.SkipReason:
        if not served or not (there := cache.cache()).there:
            return dg.SkipReason("no cache" if served else "no mart is served")
        try:
            healed = heal(served, lake.find(*map(specs.gold, served)), cache=there, seconds=_WORK_S)
            published = {done.mart: done for done in healed.published}
            found = {**healed.found, **(entries(published, cache=there) if published else {})}
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        told: dict[str, tuple[str, float]] = json.loads(context.cursor) if context.cursor else {}
        events: list[dg.AssetMaterialization] = []
        for mart in served:
            entry, (digest, when) = found[mart.name], told.get(mart.name, ("", 0.0))
            if entry is None or entry.digest == digest:
                continue
            if mart.name in published or time.time() - when > _TELL_S:
                events.append(as_materialization(mart, entry, by="sensor" if mart.name in published else "run"))
                told[mart.name] = (entry.digest, time.time())
        return dg.SensorResult(asset_events=events, cursor=json.dumps(told))

    return serving
