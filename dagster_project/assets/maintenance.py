"""Maintenance: each night what is older than the retention leaves Bronze, and each table is compacted, vacuumed and tidied."""

import datetime as dt
from collections import Counter
from dataclasses import asdict
from typing import Any

import dagster as dg

from dagster_project.assets.describe import RETRIES, cost
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.cost.recorder import Recorder
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.lake.keys import keys_of
from dagster_project.lake.serving import written
from dagster_project.lake.table import TableSpec
from dagster_project.lifecycle.ageing import KEPT_DAYS, KEPT_HOURS, age
from dagster_project.lifecycle.expiry import expire, overdue
from dagster_project.lifecycle.upkeep import Upkeep, tend, usd_per_month
from dagster_project.naming import asset_key
from dagster_project.resources.lake import LakeResource

# Table partitions that the UI names.
_NAMED = 50


def maintenance_jobs(dataset: Dataset, catalog: Catalog) -> dict[str, dg.AssetSelection]:
    """By name of the job, what is maintained with a dataset: its tables, and those of its marts.

    A run keeps all of its pools to its end, and to prove what has expired takes a while: a job of its own, which has none,
    so that Silver goes on.
    """
    newer = dataset in catalog.successors  # Bronze, the ledger and marts are the older version's
    marts = [] if newer else [specs.gold(mart) for mart in catalog.marts_of(dataset.name)]
    alone = [spec for spec in [*_tables(dataset, catalog), *marts] if not spec.many_writers]
    maintain: dict[str, dg.AssetSelection] = {f"maintain_{dataset.table}": dg.AssetSelection.assets(*map(_key, alone))}
    if newer:
        return maintain
    shared = [spec for spec in _tables(dataset, catalog) if spec.many_writers]
    return {
        f"expire_{dataset.name}": dg.AssetSelection.assets(asset_key("expiry", dataset.name), *map(_key, shared)),
        **maintain,
    }


def ops_maintenance() -> dict[str, dg.AssetSelection]:
    """By name of the job, the upkeep of the platform's tables about itself."""
    return {"maintain_ops": dg.AssetSelection.assets(*map(_key, specs.ops()))}


def maintenance_schedule(job_name: str) -> dg.ScheduleDefinition:
    """Once a night: a day's commits make some thousand files, which planning still reads at ease.

    Running unless a person stops it: what it does is invisible to readers, a table that nobody compacts grows slow, and how
    long Bronze is kept is the contract's word.
    """
    return dg.ScheduleDefinition(
        name=f"{job_name}_daily",
        job_name=job_name,
        cron_schedule="17 3 * * *",  # not on the hour, when everybody else's jobs start
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def maintenance_assets(catalog: Catalog, *, usd_per_gb_month: float) -> list[dg.AssetsDefinition]:
    """The expiry of each Bronze table, and the upkeep of every table."""
    return [
        *(_ops_asset(spec, usd_per_gb_month=usd_per_gb_month) for spec in specs.ops()),
        *(_expiry_asset(dataset, catalog=catalog, usd_per_gb_month=usd_per_gb_month) for dataset in catalog.datasets),
        *(
            _upkeep_asset(dataset, spec, datasets=(dataset.name,), usd_per_gb_month=usd_per_gb_month)
            for dataset in catalog.every_version()
            for spec in _tables(dataset, catalog)
        ),
        *(
            _upkeep_asset(
                mart,
                specs.gold(mart),
                datasets=tuple(sorted(catalog.origins(mart))),
                usd_per_gb_month=usd_per_gb_month,
            )
            for mart in catalog.marts
        ),
    ]


def _expiry_asset(dataset: Dataset, *, catalog: Catalog, usd_per_gb_month: float) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key("expiry", dataset.name),
        description=f"Deletes table partitions of bronze.{dataset.name} that are older than {dataset.slo.retention.days} "
        "days, once Silver has read them and each row's place is proven. The ledger keeps their offsets.",
        group_name=dataset.domain,
        owners=list(dataset.owners),
        kinds={"deltalake", "bronze"},
        code_version=dataset.version,
        deps=[
            asset_key("bronze", dataset.name),
            *(asset_key("silver", version.table) for version in catalog.versions(dataset.name)),
        ],
        retry_policy=RETRIES,
        metadata={"retention": str(dataset.slo.retention)},
    )
    def expiry(
        context: dg.AssetExecutionContext, lake: LakeResource, costs: dg.ResourceParam[Recorder]
    ) -> dg.MaterializeResult[Any]:
        with explained(), costs.of(f"expiry/{dataset.name}", dataset.name) as spent:
            storage, now = lake.storage(), dt.datetime.now(dt.UTC)
            readers = written(catalog, dataset.name, storage=storage)
            done = list(expire(dataset, storage=storage, now=now, readers=readers))
            bronze = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
            left = None if bronze is None else overdue(dataset, bronze, now=now, readers=readers, storage=storage)
        gone = [item for item in done if item.version is not None]
        size = sum(item.bytes for item in gone)
        places = sum((Counter(item.places) for item in gone), Counter[str]())
        named = [name for item in gone for name in item.partitions]
        for item in done:
            context.log.info(f"{item.rows} rows of {len(item.partitions)} table partitions, version {item.version}")
        return dg.MaterializeResult(
            metadata={
                "rows_deleted": sum(item.rows for item in gone),
                "rows_deleted_by_place": dg.MetadataValue.json(dict(places)),
                "partitions_deleted": len(named),
                "partitions": dg.MetadataValue.json(named[:_NAMED]),
                "files_deleted": sum(item.files for item in gone),
                "bytes_deleted": size,
                "saved_usd_per_month_once_vacuumed": usd_per_month(size, usd_per_gb_month),
                "overdue_partitions_kept": 0 if left is None else len(keys_of(left)),
                **cost(costs, spent),
            }
        )

    return expiry


def _upkeep_asset(
    contract: Dataset | Mart, spec: TableSpec, *, datasets: tuple[str, ...], usd_per_gb_month: float
) -> dg.AssetsDefinition:
    layer = asset_key(spec.layer, spec.name)

    @dg.asset(
        key=_key(spec),
        description=f"Merges small files of {spec.layer}.{spec.name}, deletes files that are needed no more, writes a "
        "checkpoint and cuts the log short. Rows stay as they are.",
        group_name=contract.domain,
        owners=list(contract.owners),
        kinds={"deltalake"},
        code_version=contract.version,
        deps=[] if spec.layer in {"ledger", "quarantine"} else [layer],
        retry_policy=RETRIES,
        # Bronze and the ledger have many writers, and ingest need not wait. Of the others each commit excludes all others, so compaction
        # takes its turn with the runs that write them instead of making one of them start over.
        pool=None if spec.many_writers else f"{spec.layer}_{spec.name}",
    )
    def upkeep(
        context: dg.AssetExecutionContext, lake: LakeResource, costs: dg.ResourceParam[Recorder]
    ) -> dg.MaterializeResult[Any]:
        with explained(), costs.of("/".join(_key(spec).path), *datasets) as spent:
            done = tend(spec, storage=lake.storage(), usd_per_gb_month=usd_per_gb_month, report=context.log.info)
        return dg.MaterializeResult(metadata={**({} if done is None else _metadata(done)), **cost(costs, spent)})

    return upkeep


def _ops_asset(spec: TableSpec, *, usd_per_gb_month: float) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(spec),
        description=f"Deletes what is older than {KEPT_DAYS} days from {spec.layer}.{spec.name}, merges its small files, deletes "
        "files that are needed no more, writes a checkpoint and cuts the log short.",
        group_name="platform",
        kinds={"deltalake"},
        retry_policy=RETRIES,
    )
    def upkeep(
        context: dg.AssetExecutionContext, lake: LakeResource, costs: dg.ResourceParam[Recorder]
    ) -> dg.MaterializeResult[Any]:
        with explained(), costs.of("/".join(_key(spec).path)) as spent:
            gone = age(spec, storage=lake.storage(), now=dt.datetime.now(dt.UTC))
            done = tend(
                spec,
                storage=lake.storage(),
                usd_per_gb_month=usd_per_gb_month,
                kept_hours=KEPT_HOURS,
                report=context.log.info,
            )
        deleted = (
            {} if gone is None else {f"{name}_deleted": getattr(gone, name) for name in ("dates", "rows", "bytes")}
        )
        return dg.MaterializeResult(
            metadata={**deleted, **({} if done is None else _metadata(done)), **cost(costs, spent)}
        )

    return upkeep


def _metadata(done: Upkeep) -> dict[str, Any]:
    changes = {
        f"{name}_{moment}": value
        for moment, footprint in (("before", done.before), ("after", done.after))
        for name, value in asdict(footprint).items()
    }
    commits = [item for item in done.compacted if not item.outpaced]
    return {
        **changes,
        "files_compacted": sum(item.files for item in commits),
        "files_vacuumed": done.vacuumed_files,
        "bytes_vacuumed": done.vacuumed_bytes,
        "checkpoint": -1 if done.checkpoint is None else done.checkpoint,
        "saved_usd_per_month": done.saved_usd_per_month,
    }


def _tables(dataset: Dataset, catalog: Catalog) -> list[TableSpec]:
    """A version's own tables, and of the older one of two those that both share."""
    own = (specs.silver, specs.quarantine)
    kinds = own if dataset in catalog.successors else (specs.bronze, *own, specs.ledger)
    return [spec(dataset) for spec in kinds]


def _key(spec: TableSpec) -> dg.AssetKey:
    return asset_key("upkeep", f"{spec.layer}_{spec.name}")
