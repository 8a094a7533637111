"""What Dagster's UI shows of an asset before and after a run, said once for all layers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
import polars as pl

from dagster_project.assets.partitions import partition_name, table_key
from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Column, Dataset, Mart
from dagster_project.errors import LakeError, LakehouseError
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Layer
from dagster_project.lake.table import Table

# A stale writer or a passing fault of the store starts over from the committed state; two further tries are enough
# for a passing fault and few enough that a lasting one is seen within seconds.
RETRIES = dg.RetryPolicy(max_retries=2, delay=1, jitter=dg.Jitter.FULL)


def asset_key(layer: Layer | str, name: str) -> dg.AssetKey:
    return dg.AssetKey([layer, name])


def column_schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    """The contract's columns, with types, descriptions and what is required."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=describe(column.type),
                description=column.description or None,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in columns
        ]
    )


def common(contract: Dataset | Mart, *, layer: Layer, uri: str, kinds: set[str]) -> dict[str, Any]:
    """Arguments that every table asset takes from its contract."""
    freshness = contract.slo.freshness if isinstance(contract, Dataset) else contract.freshness
    return {
        "key": asset_key(layer, contract.name),
        "group_name": contract.domain,
        "owners": list(contract.owners),
        "kinds": kinds,
        "code_version": contract.version,
        "freshness_policy": dg.FreshnessPolicy.time_window(fail_window=freshness + dt.timedelta(minutes=1), warn_window=freshness),
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "retry_policy": RETRIES,
        # One run at a time for each table: correctness does not depend on it, wasted work does.
        "pool": f"{layer}_{contract.name}",
        "metadata": {
            "dagster/column_schema": column_schema(contract.columns),
            "dagster/table_name": f"{layer}.{contract.name}",
            "dagster/uri": f"{uri}/{layer}/{contract.name}",
            "contract": str(contract.source.name),
            "contract_version": contract.version,
        },
    }


def chosen_keys(context: dg.AssetExecutionContext) -> list[Key] | None:
    """The table partitions that this run was asked for; `None` for all that have something to do."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return None
    return [table_key(name) for name in context.partition_keys]


def by_hand(context: dg.AssetExecutionContext) -> bool:
    """Whether a person asked for these partitions, and so means all of them, not only what is new."""
    return "dagster/sensor_name" not in context.run.tags and chosen_keys(context) is not None


def report_partitions(context: dg.AssetExecutionContext, table: Table | None, added: Mapping[Key, int]) -> None:
    """Show each partition that the run touched, and each that it was asked for, with its row counts."""
    key = context.asset_key
    totals = partition_rows(table)
    asked = chosen_keys(context) or []
    for partition in asked:
        context.add_asset_metadata(_counts(totals, added, partition), asset_key=key, partition_key=partition_name(partition))
    for partition in sorted(set(added) - set(asked), key=str):
        if partition.date is not None:
            metadata = _counts(totals, added, partition)
            context.log_event(dg.AssetMaterialization(key, partition=partition_name(partition), metadata=metadata))


def _counts(totals: Mapping[Key, int], added: Mapping[Key, int], partition: Key) -> dict[str, int]:
    return {"dagster/partition_row_count": totals.get(partition, 0), "rows_added": added.get(partition, 0)}


def partition_rows(table: Table | None) -> dict[Key, int]:
    """Rows by table partition, from the log alone."""
    if table is None:
        return {}
    columns = list(table.spec.partition_by)
    counts = table.files().group_by(columns).agg(pl.sum("num_records"))
    return {Key(row[0], row[1] if len(columns) > 1 else None): row[-1] for row in counts.iter_rows()}


@contextmanager
def explained() -> Iterator[None]:
    """Turn the platform's errors into run failures that show what was found and what to do, without a needless retry."""
    try:
        yield
    except LakehouseError as error:
        metadata = {"found": error.found, "expected": error.expected, "to_do": error.remedy}
        raise dg.Failure(str(error), metadata=metadata, allow_retries=isinstance(error, LakeError)) from error
