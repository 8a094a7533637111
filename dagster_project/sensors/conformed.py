"""Whether marts agree on what they share, reported without launching runs."""

import json

import dagster as dg

from dagster_project.accounting.conformed import check_conformed
from dagster_project.checks import conformed
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.resources.lake import LakeResource

# Beside the runs that change marts every few seconds: the figures are compared once a minute at most.
INTERVAL_S = 60


def conformed_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Evaluates marts of which a table has changed; the cursor only remembers versions, so losing it repeats a verdict."""
    marts = [mart for mart in catalog.marts if mart.conformed]
    names = {mart.name: sorted({mart.name, *(item.mart for item in mart.conformed)}) for mart in marts}
    golds = [specs.gold(mart) for mart in catalog.marts if any(mart.name in shared for shared in names.values())]

    @dg.sensor(
        name="conformed",
        description="Evaluates whether marts have the keys of their dimensions, and agree on shared measures.",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def conformed_dimensions(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        said: dict[str, list[int]] = json.loads(context.cursor) if context.cursor else {}
        events: list[dg.AssetCheckEvaluation] = []
        tables = lake.find(*golds)
        for mart in marts:
            if tables[f"gold/{mart.name}"] is None:
                continue
            found = [tables[f"gold/{name}"] for name in names[mart.name]]
            versions = [-1 if table is None else table.version for table in found]
            if said.get(mart.name) != versions:
                events.append(conformed.evaluate(mart, check_conformed(mart, catalog=catalog, storage=lake.storage())))
                said[mart.name] = versions
        return dg.SensorResult(asset_events=events, cursor=json.dumps(said))

    return conformed_dimensions
