"""The stable view `silver.<name>`: which major version of a dataset it shows, and under which names of columns."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.contract.versions import counterparts
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.releases import Release, newest
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table


def state(catalog: Catalog, name: str, *, storage: Storage) -> Release:
    """Where the release of a dataset stands; before its first one, the older version serves alone.

    Of a dataset that never had a second major version the store is not asked.

    Raises:
        LakeError: the version that serves has no contract, or there is a table of one that no release has replaced.
    """
    versions = catalog.versions(name)
    first = versions[0]
    alone = Release(number=0, serves=first.major, written=(first.major,))
    if len(versions) == 1 and not first.reads_payloads:
        return alone
    found = newest(name, storage=storage)
    if found is None:
        _refuse_replaced(first, storage)
        return alone
    if found.serves not in {version.major for version in versions}:
        raise LakeError(
            f"version {found.serves} of {name} serves, and its contract is not there",
            expected="a contract for the version that readers get",
            remedy="put it back beside the newer one, or see docs/releases.md",
        )
    return found


def _refuse_replaced(dataset: Dataset, storage: Storage) -> None:
    """A major version that was opened in the place of another would serve nothing until it is built."""
    if not dataset.reads_payloads or Table.find(specs.silver(dataset), storage=storage) is not None:
        return
    if Table.find(replace(specs.silver(dataset), name=dataset.name), storage=storage) is not None:
        raise LakeError(
            f"{dataset.source.name} is version {dataset.version} of {dataset.name}, whose readers have silver/{dataset.name}",
            expected="the contract of the version that serves, with the newer one beside it",
            remedy=f"put the older contract back, and see `lakehouse release plan {dataset.name}`",
        )


def serving(catalog: Catalog, name: str, *, storage: Storage) -> Dataset:
    """The version that readers of `silver.<name>` get.

    Raises:
        LakeError: as of `state`.
    """
    versions = catalog.versions(name)
    if len(versions) == 1 and not versions[0].reads_payloads:
        return versions[0]
    major = state(catalog, name, storage=storage).serves
    return next(version for version in versions if version.major == major)


def written(catalog: Catalog, name: str, *, storage: Storage) -> tuple[Dataset, ...]:
    """The versions that are kept up to date with Bronze, the older first.

    Raises:
        LakeError: as of `state`.
    """
    majors = state(catalog, name, storage=storage).written
    return tuple(version for version in catalog.versions(name) if version.major in majors)


def visible(rows: pl.LazyFrame, version: Dataset) -> pl.LazyFrame:
    """Rows of one version's Silver as SQL sees them: those that are not deleted.

    Of a history all are seen, deletes too, told by `_deleted`, with `_version_time`: when each of them begins to hold.
    """
    if version.write_mode == "history":
        return rows.with_columns(specs.version_time(version))
    return rows.filter(~pl.col("_deleted")).drop("_deleted")


def view(rows: pl.LazyFrame, catalog: Catalog, version: Dataset) -> pl.LazyFrame:
    """Rows of one version's Silver with the columns of all versions: what was renamed has both names.

    A column that this version does not have is null.
    """
    own = polars_schema(version.published)
    rows = rows.with_columns(
        pl.col(column.name).alias(column.renamed_from)
        for column in version.published
        if column.renamed_from and column.renamed_from not in own
    )
    for other in catalog.versions(version.name):
        there = counterparts(other, version)
        rows = rows.with_columns(
            (pl.col(there[name]) if there.get(name) in own else pl.lit(None, dtype)).alias(name)
            for name, dtype in polars_schema(other.published).items()
            if name not in own
        )
    return rows
