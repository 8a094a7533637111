"""What became of each Bronze row, decided by what the other tables hold."""

from __future__ import annotations

import polars as pl

from dagster_project.accounting.places import PLACE, PLACE_SCHEMA, places
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.refine.merge import VERSION_ORDER, VERSION_TIME, version_time
from dagster_project.refine.plan import progress


def fates(dataset: Dataset, *, bronze: Table | None, silver: Table | None, quarantine: Table | None) -> pl.DataFrame:
    """Bronze's offsets, each with its `fate`.

    One of `silver, superseded, quarantined, tombstone, pending`, or what must not be: `doubled, unaccounted`.
    """
    if bronze is None:
        return pl.DataFrame(schema={**PLACE_SCHEMA, "fate": pl.String})
    columns = [*PLACE, "_batch_id", "_kind", *specs.KEYS, *dataset.merge_key]
    rows = bronze.rows().select(*dict.fromkeys(columns), version_time(dataset)).collect(engine="in-memory")
    through = pl.DataFrame(
        [(key.date, key.region, batch) for key, batch in progress(silver).items()],
        schema={**specs.PARTITION, "_through": pl.Int64},
        orient="row",
    )
    in_silver = places(silver, "_deleted").with_columns(pl.lit(True).alias("in_silver"))
    in_quarantine = places(quarantine).with_columns(pl.lit(True).alias("in_quarantine"))
    rows = (
        rows.join(in_silver, on=PLACE, how="left")
        .join(in_quarantine, on=PLACE, how="left")
        .join(through, on=specs.KEYS, how="left", nulls_equal=True)
    )
    twice = pl.struct(PLACE).is_duplicated()
    rows = rows.with_columns(
        pl.when(twice | (pl.col("in_silver") & pl.col("in_quarantine")))
        .then(pl.lit("doubled"))
        .when(pl.col("_kind") == specs.POISON)
        .then(pl.lit("quarantined"))
        .when(pl.col("_batch_id") > pl.col("_through").fill_null(-1))
        .then(pl.lit("pending"))
        .when(pl.col("in_silver") & pl.col("_deleted"))
        .then(pl.lit("tombstone"))
        .when(pl.col("in_silver"))
        .then(pl.lit("silver"))
        .when(pl.col("in_quarantine"))
        .then(pl.lit("quarantined"))
        .alias("fate")
    )
    decided = rows.filter(pl.col("fate").is_not_null()).select(*PLACE, "fate")
    # Without Silver every row is pending, doubled or poison: nothing is left undecided.
    undecided = [] if silver is None else [_superseded(dataset, rows.filter(pl.col("fate").is_null()), silver)]
    return pl.concat([decided, *undecided])


def _superseded(dataset: Dataset, rest: pl.DataFrame, silver: Table) -> pl.DataFrame:
    """Rows that are in no table: superseded, if Silver proves it by a version of the same key that goes before them."""
    key = list(dataset.merge_key)
    winners = (
        silver.rows()
        .join(rest.lazy().select(key), on=key, how="semi")
        .select(*key, version_time(dataset), *PLACE)
        .unique(key)
        .collect(engine="in-memory")
    )
    if dataset.write_mode == "append":
        beaten = pl.col(f"{VERSION_TIME}_right").is_not_null()
    else:
        beaten = pl.lit(False)
        for name in reversed(VERSION_ORDER):
            winner, own = pl.col(f"{name}_right"), pl.col(name)
            beaten = (winner > own) | ((winner == own) & beaten)
    judged = rest.join(winners, on=key, how="left").with_columns(
        pl.when(~beaten.fill_null(False))
        .then(pl.lit("unaccounted"))
        .when(pl.col("_kind") == specs.TOMBSTONE)
        .then(pl.lit("tombstone"))
        .otherwise(pl.lit("superseded"))
        .alias("fate")
    )
    return judged.select(*PLACE, "fate")
