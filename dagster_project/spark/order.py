"""What a Spark job is to do, as one JSON document that follows from the contract, the catalog and the tables' own logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import unquote

import polars as pl

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.contract.spark_sql import to_spark, view_name
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.gold import alone
from dagster_project.refine.inputs import Inputs, spec_of
from dagster_project.refine.reach import part_of
from dagster_project.refine.windows import TABLE, frame
from dagster_project.spark.columns import Column, columns_of
from dagster_project.spark.views import View, literal, view_of

# URI, and the values of its table partition, as text.
File = tuple[str | None, ...]
# How `Storage.uri` and Spark name a place.
Schemes = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One evaluation of the SQL.

    Attributes:
        views: by name, the files that are read.
        where: of what it yields, the rows that are wanted.
    """

    views: Mapping[str, tuple[File, ...]]
    where: str | None


@dataclass(frozen=True, kw_only=True)
class Order:
    """All that a job has to know.

    Attributes:
        name: of the table, for people.
        output: a new folder below the table, for the job's files; `staged` is its name.
        views: by name, of which the groups say the files.
    """

    name: str
    output: str
    staged: str
    sql: str
    views: Mapping[str, View]
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...]
    sort: tuple[str, ...]
    read_files: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def order_mart(inputs: Inputs, gold: Table, keys: Sequence[Key], *, staged: str, schemes: Schemes) -> Order:
    """The order to compute table partitions of a mart.

    Raises:
        ContractError: the SQL cannot be run in Spark.
    """
    mart, catalog = inputs.mart, inputs.catalog
    views: dict[str, View] = {}
    for item in mart.inputs:
        spec, table = spec_of(item.table, inputs.versions, catalog), inputs.tables[item.table]
        version = inputs.versions[item.name] if item.kind == "dataset" else None
        views[view_name(item.table.replace("/", "."))] = view_of(spec, table, version, catalog)
    if mart.window is not None:
        views[view_name(TABLE)] = literal(frame(inputs.watermarks))
    groups: list[Group] = []
    for group in alone(mart, keys):
        files: dict[str, tuple[File, ...]] = dict.fromkeys(views, ())
        for item in mart.inputs:
            if (table := inputs.tables[item.table]) is not None:
                own = part_of(table.files(), item, mart, group)
                files[view_name(item.table.replace("/", "."))] = files_of(table, own, schemes)
        where = f"`{DATE_COLUMN}` = DATE '{group[0].date}'" if mart.reads_beside else None
        groups.append(Group(views=files, where=where))
    return Order(
        name=f"gold/{mart.name}",
        output=f"{place(gold.uri, schemes)}/{staged}",
        staged=staged,
        sql=to_spark(mart, catalog),
        views=views,
        groups=tuple(groups),
        columns=columns_of(gold.spec.schema),
        partition_by=gold.spec.partition_by,
        sort=tuple(dict.fromkeys((*gold.spec.partition_by, *mart.merge_key))),
        read_files=sum(len(files) for group in groups for files in group.views.values()),
    )


def place(uri: str, schemes: Schemes) -> str:
    """A place as Spark names it: `file:///…`, and `s3a://…` or `s3://…`, as the cluster's file system is called."""
    scheme, separator, rest = uri.partition("://")
    return f"{schemes.get(scheme, scheme)}://{rest}" if separator else f"file://{uri}"


def files_of(table: Table, files: pl.DataFrame, schemes: Schemes) -> tuple[File, ...]:
    """Files as an order names them."""
    root = place(table.uri, schemes)
    on = table.spec.partition_by
    return tuple(
        (f"{root}/{unquote(file['path'])}", *(None if file[name] is None else str(file[name]) for name in on))
        for file in files.select("path", *on).iter_rows(named=True)
    )
