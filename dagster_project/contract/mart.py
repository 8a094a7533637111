"""From a contract of a table, and the SQL file beside it, to a mart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Document, Steps
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset, Mart
from dagster_project.contract.protection import refuse_protection

_MART = ("inputs", "partitionedBy")


def compile_mart(document: Document, *, datasets: Mapping[str, Dataset]) -> Mart:
    """Build a mart from a contract whose schema object is a table and the SQL file beside it.

    Raises:
        ContractError: naming every rule that the contract breaks.
    """
    compiler = Compiler(document)
    header, columns, key = compiler.header(), compiler.columns(), compiler.merge_key()
    refuse_protection(compiler)
    base: Steps = ("schema", 0, "customProperties")
    options = compiler.custom(compiler.table.customProperties, ("schema", 0), _MART)
    partitioned_by = tuple(map(str, options.get("partitionedBy") or ()))
    inputs = options.get("inputs") or []
    if not isinstance(inputs, list) or not inputs or not all(name in datasets for name in inputs):
        known = ", ".join(datasets) or "none yet"
        compiler.problem(base, f"inputs {inputs!r}", f"a list of datasets that have a contract ({known})")
    elif REGION_COLUMN in partitioned_by and len({datasets[name].regions for name in inputs}) > 1:
        # Its partitions are those of its first input; a region of another input alone would be in none of them.
        compiler.problem(
            base, f"inputs {inputs!r} of different regions", "inputs with one list of regions, or [event_date]"
        )
    if partitioned_by not in ((DATE_COLUMN, REGION_COLUMN), (DATE_COLUMN,)):
        compiler.problem(base, f"partitionedBy {list(partitioned_by)!r}", "[event_date, region] or [event_date]")
    elif not set(partitioned_by) <= set(key):
        compiler.problem(base, f"key {list(key)!r}", f"a primary key that contains {list(partitioned_by)!r}")
    sql_file = _sql_file(document.source)
    sql = sql_file.read_text(encoding="utf-8").strip().rstrip(";") if sql_file.is_file() else ""
    if not sql:
        compiler.problem(
            (), f"no SQL in {sql_file}", f"a SELECT that yields {', '.join(column.name for column in columns)}"
        )
    mart = Mart(
        **header,
        sql=sql,
        inputs=tuple(inputs) if isinstance(inputs, list) else (),
        columns=columns,
        merge_key=key,
        partitioned_by=partitioned_by,
        freshness=compiler.sla("freshness", dt.timedelta(hours=1)),
    )
    compiler.finish()
    return mart


def _sql_file(source: Path) -> Path:
    return source.with_name(source.name.split(".")[0] + ".sql")
