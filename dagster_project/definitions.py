"""The code location: contracts in, assets, jobs, sensors and resources out. Wiring only."""

from __future__ import annotations

import dagster as dg

from dagster_project.assets.bronze import bronze_asset, topic_spec
from dagster_project.assets.catch_up import catch_up_job
from dagster_project.assets.dlq import dlq_asset, publish_job_name
from dagster_project.assets.gold import gold_asset
from dagster_project.assets.jobs import aggregate_job_name, aggregated, by_rectangle, refine_job_name
from dagster_project.assets.maintenance import (
    maintenance_assets,
    maintenance_jobs,
    maintenance_schedule,
    ops_maintenance,
)
from dagster_project.assets.priority import priority_tags
from dagster_project.assets.serving import serving_specs
from dagster_project.assets.silver import silver_asset
from dagster_project.checks.accounting import accounting_check
from dagster_project.checks.conformed import conformed_checks
from dagster_project.checks.freshness import freshness_checks
from dagster_project.checks.retention import retention_check
from dagster_project.checks.slo import slo_checks
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.cost.prices import load_prices
from dagster_project.launcher.limits import BOUNDED, BOUNDED_ACCOUNTING, bounded
from dagster_project.naming import asset_key
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.costs import CostsResource
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.resources.spark import SparkResource
from dagster_project.sensors.accounting import accounting_sensor, verify_job_name
from dagster_project.sensors.alerts import alerts_sensor
from dagster_project.sensors.bronze_changes import bronze_changes_sensor
from dagster_project.sensors.conformed import conformed_sensor
from dagster_project.sensors.freshness import freshness_sensor
from dagster_project.sensors.kafka_lag import ingest_job_name, kafka_lag_sensor
from dagster_project.sensors.outbox import outbox_sensor
from dagster_project.sensors.retention import retention_sensor
from dagster_project.sensors.serving import serving_sensor
from dagster_project.sensors.slo import slo_sensor
from dagster_project.settings import Settings


def build(catalog: Catalog, settings: Settings) -> dg.Definitions:
    """Everything that follows from the contracts of one project."""
    freshness = {dataset.name: freshness_checks(dataset) for dataset in catalog.datasets}
    versions = catalog.every_version()
    accounting = {version.table: accounting_check(version, catalog=catalog) for version in versions}
    conformed = [check for mart in catalog.marts for check in conformed_checks(mart, catalog=catalog)]
    retention = {dataset.name: retention_check(dataset) for dataset in catalog.datasets}
    slo = {dataset.name: slo_checks(dataset, catalog=catalog) for dataset in catalog.datasets}
    ingest = {
        dataset.name: dg.define_asset_job(
            ingest_job_name(dataset),
            selection=dg.AssetSelection.assets(asset_key("bronze", dataset.name))
            - dg.AssetSelection.checks(accounting[dataset.table], retention[dataset.name], slo[dataset.name]),
            tags=BOUNDED | priority_tags([dataset]),
        )
        for dataset in catalog.datasets
    }
    verify = {
        version.table: dg.define_asset_job(
            verify_job_name(version),
            selection=dg.AssetSelection.checks(accounting[version.table]),
            tags=BOUNDED_ACCOUNTING,
        )
        for version in versions
    }
    refine = {
        version.table: dg.define_asset_job(
            refine_job_name(version),
            selection=dg.AssetSelection.assets(
                asset_key("silver", version.table),
                *(asset_key("gold", mart.name) for mart in by_rectangle(catalog, version)),
            )
            # Sensors tell of these; a run that has just written would only repeat it.
            - dg.AssetSelection.checks(
                freshness[version.name], accounting[version.table], slo[version.name], *conformed
            ),
            tags=bounded(by_rectangle(catalog, version)) | priority_tags([version]),
        )
        for version in versions
    }
    aggregate = {
        mart.name: dg.define_asset_job(
            aggregate_job_name(mart),
            selection=dg.AssetSelection.assets(asset_key("gold", mart.name)) - dg.AssetSelection.checks(*conformed),
            tags=bounded([mart]) | priority_tags(map(catalog.dataset, catalog.origins(mart))),
        )
        for mart in aggregated(catalog)
    }
    publish = [
        dg.define_asset_job(publish_job_name(dataset), selection=[asset_key("dlq", dataset.name)], tags=BOUNDED)
        for dataset in catalog.datasets
    ]
    catch_up = [catch_up_job(version, catalog=catalog, home=settings.home) for version in versions]
    maintain = [
        dg.define_asset_job(name, selection=selection)
        for jobs in (ops_maintenance(), *(maintenance_jobs(version, catalog) for version in versions))
        for name, selection in jobs.items()
    ]
    return dg.Definitions(
        assets=[
            *(topic_spec(dataset) for dataset in catalog.datasets),
            *(bronze_asset(dataset, uri=settings.lake_uri, home=settings.home) for dataset in catalog.datasets),
            *(dlq_asset(dataset, home=settings.home) for dataset in catalog.datasets),
            *(silver_asset(version, uri=settings.lake_uri, home=settings.home) for version in versions),
            *(gold_asset(mart, catalog=catalog, uri=settings.lake_uri, home=settings.home) for mart in catalog.marts),
            *serving_specs(catalog),
            *maintenance_assets(catalog, usd_per_gb_month=load_prices(settings.prices).store.gb_month),
        ],
        asset_checks=[*freshness.values(), *accounting.values(), *retention.values(), *slo.values(), *conformed],
        jobs=[
            *ingest.values(),
            *verify.values(),
            *refine.values(),
            *aggregate.values(),
            *publish,
            *catch_up,
            *maintain,
        ],
        schedules=[maintenance_schedule(job.name) for job in maintain],
        sensors=[
            kafka_lag_sensor(catalog, jobs=ingest.values()),
            bronze_changes_sensor(catalog, jobs=[*refine.values(), *aggregate.values(), *catch_up]),
            outbox_sensor(catalog, jobs=publish),
            freshness_sensor(catalog),
            retention_sensor(catalog),
            slo_sensor(catalog),
            conformed_sensor(catalog),
            serving_sensor(catalog),
            accounting_sensor(catalog, jobs=verify.values()),
            alerts_sensor(catalog, settings=settings),
        ],
        resources={
            "kafka": KafkaResource(servers=settings.bootstrap_servers),
            "lake": LakeResource(uri=settings.lake_uri),
            "cache": CacheResource(home=str(settings.home), uri=settings.lake_uri),
            "costs": CostsResource(uri=settings.lake_uri, prices=str(settings.prices or "")),
            "spark": SparkResource(where=settings.spark),
        },
        executor=dg.in_process_executor,
    )


_settings = Settings.from_environment()
defs = build(load_catalog(_settings.contracts), _settings)
