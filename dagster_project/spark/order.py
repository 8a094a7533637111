"""What a Spark job is to do, as one JSON document that follows from the contract, the catalog and the tables' own logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import unquote

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import DATE_COLUMN, VERSION_TIME, Catalog, Dataset
from dagster_project.contract.spark_sql import to_spark, view_name
from dagster_project.contract.versions import counterparts
from dagster_project.lake.columns import instance
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table, TableSpec
from dagster_project.refine.gold import alone
from dagster_project.refine.inputs import Inputs, spec_of
from dagster_project.refine.reach import part_of
from dagster_project.refine.windows import TABLE, frame

# Name and type in Spark.
Column = tuple[str, str]
# URI, and the values of its table partition, as text.
File = tuple[str | None, ...]
# How `Storage.uri` and Spark name a place.
Schemes = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class View:
    """A table as the SQL sees it.

    Attributes:
        schema: of its files, as DDL.
        partition_by: columns that the files do not have.
        where: rows that are seen.
        select: columns, as expressions.
        rows: the table itself as an expression, where it is in no file.
    """

    schema: str = ""
    partition_by: tuple[Column, ...] = ()
    where: str = "true"
    select: tuple[str, ...] = ()
    rows: str = ""


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
        views[view_name(item.table.replace("/", "."))] = _view(spec, table, version, catalog)
    if mart.window is not None:
        views[view_name(TABLE)] = _literal(frame(inputs.watermarks))
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


def columns_of(schema: Mapping[str, pl.DataType]) -> tuple[Column, ...]:
    return tuple((name, spark_type(dtype)) for name, dtype in schema.items())


def spark_type(dtype: pl.DataType) -> str:
    """The type, as Spark's DDL."""
    match dtype:
        case pl.List():
            return f"ARRAY<{spark_type(instance(dtype.inner))}>"
        case pl.Struct():
            return (
                "STRUCT<"
                + ", ".join(f"`{field.name}`: {spark_type(instance(field.dtype))}" for field in dtype.fields)
                + ">"
            )
        case pl.Decimal():
            return f"DECIMAL({dtype.precision}, {dtype.scale})"
        case _:
            return _TYPES[type(dtype)]


_TYPES: Mapping[type[pl.DataType], str] = {
    pl.String: "STRING",
    pl.Binary: "BINARY",
    pl.Int32: "INT",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
    pl.Datetime: "TIMESTAMP",
}


def ddl(columns: Sequence[Column]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns)


def _view(spec: TableSpec, table: Table | None, version: Dataset | None, catalog: Catalog) -> View:
    """What `Inputs.read` gives to DuckDB: the contract's columns; of a dataset what is visible, by the names of all versions."""
    stored = spec.schema if table is None else table.schema
    columns = columns_of({name: stored[name] for name in spec.schema})
    select = [f"`{name}`" for name in spec.schema]
    where = "true"
    if version is not None:
        if version.write_mode == "history":
            select.append(f"coalesce(`{version.event_time}`, `_kafka_timestamp`) AS `{VERSION_TIME}`")
        else:
            select.remove("`_deleted`")
            where = "NOT `_deleted`"
        select += _other_names(version, catalog)
    return View(
        schema=ddl([column for column in columns if column[0] not in spec.partition_by]),
        partition_by=tuple(column for column in columns if column[0] in spec.partition_by),
        where=where,
        select=tuple(select),
    )


def _other_names(version: Dataset, catalog: Catalog) -> list[str]:
    """As `lake.serving.view`: columns of all versions, and of what was renamed both names."""
    own = polars_schema(version.published)
    found = {
        column.renamed_from: f"`{column.name}`"
        for column in version.published
        if column.renamed_from and column.renamed_from not in own
    }
    for other in catalog.versions(version.name):
        there = counterparts(other, version)
        for name, dtype in polars_schema(other.published).items():
            if name not in own:
                found[name] = f"`{there[name]}`" if there.get(name) in own else f"CAST(NULL AS {spark_type(dtype)})"
    return [f"{made} AS `{name}`" for name, made in found.items()]


def _literal(rows: pl.DataFrame) -> View:
    """A small table that is in no file: rows of it are in the order itself."""
    columns = columns_of(dict(rows.schema))
    values = ", ".join(
        "named_struct("
        + ", ".join(
            f"'{name}', CAST({_spelled(value)} AS {kind})" for (name, kind), value in zip(columns, row, strict=True)
        )
        + ")"
        for row in rows.with_columns(pl.selectors.datetime().dt.epoch("us")).iter_rows()
    )
    kinds = ", ".join(f"`{name}`: {kind}" for name, kind in columns)
    return View(rows=f"inline(CAST(array({values}) AS ARRAY<STRUCT<{kinds}>>))")


def _spelled(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int():
            return f"timestamp_micros({value})"
        case _:
            return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
