"""What Dagster's UI shows of an asset before and after a run, said once for all layers."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import dagster as dg
import polars as pl

from dagster_project.assets.partitions import partition_name, table_key
from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Column, Dataset, Mart
from dagster_project.cost.recorder import Recorder, Spending
from dagster_project.errors import RuleError
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Layer
from dagster_project.lake.table import Table
from dagster_project.naming import asset_key

# A stale writer or a passing fault of the store starts over from the committed state; two further tries are enough
# for a passing fault and few enough that a lasting one is seen within seconds.
RETRIES = dg.RetryPolicy(max_retries=2, delay=1, jitter=dg.Jitter.FULL)
# What is told of a table with each of its table partitions.
_OF_TABLE = ("delta_version", "cache")


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


class AssetArguments(TypedDict):
    """Arguments of `dagster.asset`."""

    key: dg.AssetKey
    group_name: str
    owners: list[str]
    kinds: set[str]
    code_version: str
    freshness_policy: dg.FreshnessPolicy
    backfill_policy: dg.BackfillPolicy
    retry_policy: dg.RetryPolicy
    pool: str | None
    metadata: dict[str, Any]


def common(contract: Dataset | Mart, *, layer: Layer, uri: str, kinds: set[str]) -> AssetArguments:
    """Arguments that every table asset takes from its contract."""
    freshness = contract.slo.freshness if isinstance(contract, Dataset) else contract.freshness
    name = contract.table if isinstance(contract, Dataset) and layer == "silver" else contract.name
    return {
        "key": asset_key(layer, name),
        "group_name": contract.domain,
        "owners": list(contract.owners),
        "kinds": kinds,
        "code_version": contract.version,
        "freshness_policy": dg.FreshnessPolicy.time_window(
            fail_window=freshness + dt.timedelta(minutes=1), warn_window=freshness
        ),
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "retry_policy": RETRIES,
        # One run at a time for each table: correctness does not depend on it, wasted work does.
        "pool": f"{layer}_{name}",
        "metadata": {
            "dagster/column_schema": column_schema(_columns_in(contract, layer)),
            "dagster/table_name": f"{layer}.{name}",
            "dagster/uri": f"{uri}/{layer}/{name}",
            "contract": str(contract.source.name),
            "contract_version": contract.version,
        },
    }


def _columns_in(contract: Dataset | Mart, layer: Layer) -> tuple[Column, ...]:
    return contract.published if isinstance(contract, Dataset) and layer != "bronze" else contract.columns


def chosen_keys(context: dg.AssetExecutionContext) -> list[Key] | None:
    """The table partitions that this run was asked for; `None` for all that have something to do."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return None
    return [table_key(name) for name in context.partition_keys]


def tag_run(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, batches: Collection[int], named: Collection[str]
) -> None:
    """Tag a run that concerns one Bronze batch with it, so that it is found by it, and with its event if that is the only one.

    Args:
        named: correlation ids of the events, at least two of several.
    """
    tags = {"lakehouse/batch": str(next(iter(batches)))} if len(set(batches)) == 1 else {}
    if tags and len(set(named)) == 1:
        tags["lakehouse/correlation_id"] = next(iter(named))
    if tags:
        context.instance.add_run_tags(context.run.run_id, tags)


def by_hand(context: dg.AssetExecutionContext, *, whole: bool = False) -> bool:
    """Whether a person asked for these partitions, and so means all of them, not only what is new.

    Args:
        whole: the asset has no partitions, so who asks for it asks for all of it.
    """
    return "dagster/sensor_name" not in context.run.tags and (whole or chosen_keys(context) is not None)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did to a table.

    Attributes:
        touched: by table partition, rows added; 0 where a partition was looked at and nothing was new.
        metadata: of the materialization as a whole.
        checks: what the rules of a mart say.
        held: table partitions of a mart that stay as they were, because they would break a rule.
        refused: why nothing of a mart was published.
    """

    table: Table | None
    touched: Mapping[Key, int]
    metadata: Mapping[str, Any]
    checks: Sequence[dg.AssetCheckResult] = ()
    held: frozenset[Key] = frozenset()
    refused: RuleError | None = None

    def stand(self) -> None:
        """To be called once all else is done and told.

        Raises:
            RuleError: nothing was published.
        """
        if self.refused is not None:
            raise self.refused

    def of_partition(self, key: Key, totals: Mapping[Key, int]) -> dict[str, int]:
        """Metadata of one table partition."""
        return {"dagster/partition_row_count": totals.get(key, 0), "rows_added": self.touched.get(key, 0)}


def cost(costs: Recorder, spent: Spending) -> dict[str, float | int]:
    """What an asset has taken of the machine and of the store so far in this run, and what that costs."""
    return {f"cost/{name}": value for name, value in costs.figures(spent).items()}


def with_cost(outcome: Outcome, costs: Recorder, spent: Spending) -> Outcome:
    """What a run did, and what it has cost so far."""
    return replace(outcome, metadata={**outcome.metadata, **cost(costs, spent)})


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What several rounds of one run did: all that any of them touched, as it stands after the last."""
    touched: Counter[Key] = Counter()
    for outcome in outcomes:
        touched.update(outcome.touched)
    return replace(outcomes[-1], touched=touched)


def report_partitions(context: dg.AssetExecutionContext, outcome: Outcome) -> None:
    """Show each partition that the run touched, and each that it was asked for, with its row counts."""
    totals = partition_rows(outcome.table)
    asked = chosen_keys(context) or []
    for key in asked:
        metadata = outcome.of_partition(key, totals)
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=partition_name(key))
    log_partitions(context, context.asset_key, outcome, but=[*asked, Key(None, None)])


def log_partitions(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    asset: dg.AssetKey,
    outcome: Outcome,
    *,
    but: Collection[Key] = (),
) -> None:
    """Tell Dagster of the partitions that were touched, but for those that the run was launched for."""
    totals = partition_rows(outcome.table)
    of_run = {name: value for name, value in outcome.metadata.items() if name in _OF_TABLE or name.startswith("cost/")}
    for key in sorted(set(outcome.touched).difference(but), key=str):
        if key.date is not None:
            metadata = {**outcome.of_partition(key, totals), **of_run}
            context.log_event(dg.AssetMaterialization(asset, partition=partition_name(key), metadata=metadata))
        elif outcome.table is not None and not outcome.table.spec.partition_by:
            context.log_event(dg.AssetMaterialization(asset, metadata=outcome.metadata))


def partition_rows(table: Table | None) -> dict[Key, int]:
    """Rows by table partition, from the log alone."""
    if table is None:
        return {}
    if not (columns := list(table.spec.partition_by)):
        return {Key(None, None): int(table.files()["num_records"].sum())}
    counts = table.files().group_by(columns).agg(pl.sum("num_records"))
    return {Key(row[0], row[1] if len(columns) > 1 else None): row[-1] for row in counts.iter_rows()}
