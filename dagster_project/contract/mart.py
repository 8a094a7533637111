"""From a contract of a table, and the SQL file beside it, to a mart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.conformed import OPTION, compile_conformed
from dagster_project.contract.document import Document, Steps
from dagster_project.contract.engine import ENGINE, compile_engine
from dagster_project.contract.mart_inputs import Found, compile_inputs
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Column, Dataset, Mart
from dagster_project.contract.protection import refuse_protection
from dagster_project.contract.publishing import PUBLISHING, compile_publishing
from dagster_project.contract.serve import SERVE, compile_serve

_MART = ("inputs", "partitionedBy", "validity", "window", OPTION, *PUBLISHING, SERVE, ENGINE)
_LAYOUTS = ((DATE_COLUMN, REGION_COLUMN), (DATE_COLUMN,), ())
_BASE: Steps = ("schema", 0, "customProperties")


def compile_mart(document: Document, *, datasets: Mapping[str, Dataset], marts: Mapping[str, Mart]) -> Mart:
    """Build a mart from a contract whose schema object is a table and the SQL file beside it.

    Raises:
        ContractError: naming every rule that the contract breaks.
    """
    compiler = Compiler(document)
    header, columns, key = compiler.header(), compiler.columns(), compiler.merge_key()
    refuse_protection(compiler)
    options = compiler.custom(compiler.table.customProperties, ("schema", 0), _MART)
    partitioned_by = tuple(map(str, options.get("partitionedBy") or ()))
    if partitioned_by not in _LAYOUTS or "partitionedBy" not in options:
        compiler.problem(
            _BASE,
            f"partitionedBy {list(partitioned_by)!r}",
            "[event_date, region] or [event_date], or [] of a dimension, which has no table partitions",
        )
    elif not set(partitioned_by) <= set(key):
        compiler.problem(_BASE, f"key {list(key)!r}", f"a primary key that contains {list(partitioned_by)!r}")
    found = compile_inputs(compiler, options, partitioned_by, datasets=datasets, marts=marts)
    sql_file = _sql_file(document.source)
    sql = sql_file.read_text(encoding="utf-8").strip().rstrip(";") if sql_file.is_file() else ""
    if not sql:
        compiler.problem(
            (), f"no SQL in {sql_file}", f"a SELECT that yields {', '.join(column.name for column in columns)}"
        )
    freshness = compiler.sla("freshness", dt.timedelta(hours=1))
    publishing = compile_publishing(compiler, columns, options)
    kpis = bool(partitioned_by) and publishing["consistency"] == "ap"
    mart = Mart(
        **header,
        sql=sql,
        inputs=found.inputs,
        columns=columns,
        merge_key=key,
        partitioned_by=partitioned_by,
        freshness=freshness,
        regions=found.regions,
        start_date=found.start_date,
        days_ahead=found.days_ahead,
        validity=_validity(compiler, options, partitioned_by, {column.name: column for column in columns}),
        window=_window(compiler, options, partitioned_by, found),
        conformed=compile_conformed(compiler, options),
        serve=compile_serve(compiler, options, by_default=kpis, freshness=freshness),
        engine=compile_engine(compiler, options),
        **publishing,
    )
    compiler.finish()
    return mart


def _validity(
    compiler: Compiler, options: Mapping[str, Any], partitioned_by: tuple[str, ...], columns: Mapping[str, Column]
) -> tuple[str, ...]:
    if "validity" not in options:
        return ()
    names = options["validity"]
    if (
        not isinstance(names, list)
        or len(names) != 2
        or any(name not in columns or columns[name].type.kind != "timestamp" for name in names)
    ):
        compiler.problem(
            _BASE, f"validity {names!r}", "two timestamp properties: from when a row holds, and until when"
        )
        return ()
    if partitioned_by:
        compiler.problem(
            _BASE,
            f"validity of a mart by {list(partitioned_by)!r}",
            "partitionedBy: [], as a dimension has its history whole",
        )
    return tuple(names)


def _window(
    compiler: Compiler, options: Mapping[str, Any], partitioned_by: tuple[str, ...], found: Found
) -> dt.timedelta | None:
    if "window" not in options:
        return None
    day = dt.timedelta(days=1)
    size = compiler.duration(options["window"], _BASE, day)
    if day % size:
        compiler.problem(_BASE, f"window {options['window']!r}", "a duration that a day has a whole number of")
    if not partitioned_by or not any(item.kind == "dataset" for item in found.inputs):
        compiler.problem(
            _BASE,
            "window of a mart that reads no dataset by date",
            "a dataset among its inputs, whose watermark it follows",
        )
    return size


def _sql_file(source: Path) -> Path:
    return source.with_name(source.name.split(".")[0] + ".sql")
