"""What is served of a mart, as an asset that nobody runs: runs of Gold publish it, and a sensor looks after it."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from dagster_project.contract.model import Catalog, Mart
from dagster_project.naming import asset_key
from dagster_project.serving.entry import Entry


def serving_specs(catalog: Catalog) -> Iterator[dg.AssetSpec]:
    """One for each mart that the cache has."""
    for mart in catalog.marts:
        if mart.serve is not None:
            yield dg.AssetSpec(
                key=asset_key("serving", mart.name),
                description=f"The newest rows of gold/{mart.name}, in the cache.",
                group_name=mart.domain,
                owners=list(mart.owners),
                kinds={"redis"},
                code_version=mart.version,
                deps=[asset_key("gold", mart.name)],
                metadata={
                    "ttl_minutes": mart.serve.ttl / dt.timedelta(minutes=1),
                    "max_rows": mart.serve.max_rows,
                },
            )


def as_materialization(mart: Mart, entry: Entry, *, by: str) -> dg.AssetMaterialization:
    """What the UI shows of a copy.

    Args:
        by: what published it.
    """
    return dg.AssetMaterialization(
        asset_key("serving", mart.name),
        metadata={
            "delta_version": entry.version,
            "published_at": dg.MetadataValue.timestamp(entry.published_at),
            "dagster/row_count": entry.window.rows,
            "partitions": len(entry.window.tokens),
            "whole": entry.window.whole,
            "by": by,
        },
    )
