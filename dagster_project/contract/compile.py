"""From a validated ODCS document to the platform's own values, with the semantic rules that the standard leaves open."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from open_data_contract_standard.model import CustomProperty, SchemaObject, Server
from pydantic import TypeAdapter, ValidationError

from dagster_project.contract.columns import compile_columns
from dagster_project.contract.document import Document, Problem, Steps, refuse
from dagster_project.contract.model import (
    DATE_COLUMN,
    REGION_COLUMN,
    RESERVED_PREFIX,
    Column,
    Dataset,
    Mart,
    Slo,
    SqlRule,
    Topic,
)

_DURATION = TypeAdapter(dt.timedelta)
_TOPIC = ("partitions", "replicationFactor", "minInsyncReplicas", "retention", "cleanupPolicy")
_DATASET = ("eventTime", "partitionTime", "startDate", "writeMode", "allowedLateness", "maxBadRate")
_MART = ("inputs", "partitionedBy")
# Names become folder names, Dagster keys and SQL identifiers, so they keep to what is plain in all three.
NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
# Regions are folder names and part of Dagster's partition keys.
_REGION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
_TOPIC_NAME = re.compile(r"^[A-Za-z0-9._-]{1,249}$")  # Kafka's own limit


class _Compiler:
    """Walks one document and gathers problems, so that a user sees all of them at once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def problem(self, path: Steps, found: str, expected: str) -> None:
        self.problems.append(Problem(path=path, found=found, expected=expected))

    def finish(self) -> None:
        if self.problems:
            raise refuse(self.document.source, self.document.lines, self.problems)

    def custom(self, properties: Sequence[CustomProperty] | None, path: Steps, known: Sequence[str]) -> dict[str, Any]:
        """Custom properties by name; an unknown name is refused, with the nearest known one."""
        values: dict[str, Any] = {}
        for index, item in enumerate(properties or ()):
            name = item.property or ""
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"{near[0]!r}" if near else "one of " + ", ".join(known)
                self.problem((*path, "customProperties", index, "property"), repr(name), hint)
            values[name] = item.value
        return values

    def duration(self, value: object, path: Steps, default: dt.timedelta) -> dt.timedelta:
        if value is None:
            return default
        try:
            duration = _DURATION.validate_python(value, strict=False) if isinstance(value, str) else None
        except ValidationError:
            duration = None
        if duration is None or duration <= dt.timedelta(0):
            self.problem(path, repr(value), "a positive ISO 8601 duration, such as PT10M or P7D")
            return default
        return duration

    def number(self, value: object, path: Steps, default: int) -> int:
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.problem(path, repr(value), "a whole number of at least 1")
            return default
        return value

    def header(self) -> dict[str, Any]:
        """What datasets and marts share: names, owners, version."""
        model = self.document.model
        table = self.table
        name = table.name or ""
        if not NAME.match(name):
            self.problem(("schema", 0, "name"), repr(name), "lower-case letters, digits and _, starting with a letter")
        team = model.team
        members = () if team is None or isinstance(team, list) else (team.members or ())
        owners = tuple(
            [f"team:{team.name}"] if team is not None and not isinstance(team, list) and team.name else []
        )
        if not owners and not members:
            self.problem(("team",), "no team", "team: {name: …}, so that someone is called when it breaks")
        description = model.description.purpose if model.description and model.description.purpose else ""
        return {
            "name": name,
            "title": model.name or name,
            "version": model.version or "",
            "description": table.description or description,
            "domain": model.domain or "default",
            "owners": owners,
            "source": self.document.source,
        }

    @property
    def table(self) -> SchemaObject:
        schema = self.document.model.schema_ or []
        if len(schema) != 1:
            self.problem(("schema",), f"{len(schema)} schema objects", "exactly one: a contract describes one topic or mart")
            self.finish()
        return schema[0]

    def columns(self) -> tuple[Column, ...]:
        """Columns of the table; names that the platform needs for itself are refused."""
        base: Steps = ("schema", 0, "properties")
        columns = compile_columns(self.table.properties or [], base, self.problem)
        if not columns:
            self.problem(base, "no columns", "at least one property")
        return columns

    def merge_key(self) -> tuple[str, ...]:
        keys = [
            (item.primaryKeyPosition if item.primaryKeyPosition is not None else 1, item.name or "")
            for item in self.table.properties or []
            if item.primaryKey
        ]
        if not keys:
            self.problem(("schema", 0, "properties"), "no primary key", "primaryKey: true on at least one property")
        if len({position for position, _ in keys}) != len(keys):
            self.problem(("schema", 0, "properties"), "two key columns at one position", "primaryKeyPosition: 1, 2, …")
        return tuple(name for _, name in sorted(keys))

    def sla(self, name: str, default: dt.timedelta) -> dt.timedelta:
        units = {"minutes": "minutes", "hours": "hours", "days": "days", "seconds": "seconds"}
        for index, item in enumerate(self.document.model.slaProperties or ()):
            if item.property != name:
                continue
            unit = units.get(item.unit or "")
            if unit is None:
                self.problem(("slaProperties", index, "unit"), repr(item.unit), "seconds, minutes, hours or days, spelt out")
            elif not isinstance(item.value, (int, float)) or isinstance(item.value, bool) or item.value <= 0:
                self.problem(("slaProperties", index, "value"), repr(item.value), "a positive number")
            else:
                return dt.timedelta(**{unit: item.value})
        return default


def compile_dataset(document: Document) -> Dataset:
    """Build a dataset from a contract whose schema object is a topic.

    Raises:
        ContractError: naming every rule that the contract breaks.
    """
    compiler = _Compiler(document)
    table, header = compiler.table, compiler.header()
    columns, key = compiler.columns(), compiler.merge_key()
    by_name = {column.name: column for column in columns}
    options = compiler.custom(table.customProperties, ("schema", 0), _DATASET)
    regional = [item for item in table.properties or [] if item.partitioned]
    region = regional[0].name or "" if regional else ""
    regions = tuple(str(value) for value in by_name[region].constraints.enum) if region in by_name else ()
    base: Steps = ("schema", 0)
    for name in regions:
        if not _REGION.match(name):
            compiler.problem((*base, "properties"), f"region {name!r}", "letters, digits, '_', '.' and '-' only")
    if len(regional) != 1 or not regions:
        compiler.problem((*base, "properties"), "no region", "partitioned: true and an enum on exactly one string property")
    for name in (*key, region):
        if name in by_name and not by_name[name].required:
            compiler.problem((*base, "properties"), f"{name!r} is optional", "required: true, as a key or region must be")
    for column in columns:
        if column.name.startswith(RESERVED_PREFIX) or column.name == DATE_COLUMN:
            compiler.problem((*base, "properties"), repr(column.name), "another name: this one is the platform's own")
        if column.name == REGION_COLUMN and region != REGION_COLUMN:
            compiler.problem((*base, "properties"), "'region' is not the partitioned property", "partitioned: true on it, or another name")
    event_time = _time(compiler, options, "eventTime", by_name, "")
    partition_time = _time(compiler, options, "partitionTime", by_name, event_time)
    write_mode = options.get("writeMode", "append")
    if write_mode not in ("append", "upsert"):
        compiler.problem((*base, "customProperties"), f"writeMode {write_mode!r}", "append or upsert")
    dataset = Dataset(
        **header,
        topic=_topic(compiler),
        columns=columns,
        merge_key=key,
        event_time=event_time,
        partition_time=partition_time,
        stable_partitions=write_mode == "append" or "partitionTime" in options,
        region=region,
        regions=regions,
        start_date=_start_date(compiler, options),
        write_mode=write_mode,
        allowed_lateness=compiler.duration(options.get("allowedLateness", "maxBadRate"), (*base, "customProperties"), dt.timedelta(minutes=10)),
        rules=_rules(compiler),
        max_bad_rate=_share(compiler, options.get("maxBadRate", 0.05)),
        slo=Slo(
            freshness=compiler.sla("freshness", dt.timedelta(hours=1)),
            latency=compiler.sla("latency", dt.timedelta(minutes=5)),
            retention=compiler.sla("retention", dt.timedelta(days=30)),
        ),
    )
    compiler.finish()
    return dataset


def compile_mart(document: Document, *, datasets: Mapping[str, Dataset]) -> Mart:
    """Build a mart from a contract whose schema object is a table and the SQL file beside it.

    Raises:
        ContractError: naming every rule that the contract breaks.
    """
    compiler = _Compiler(document)
    header, columns, key = compiler.header(), compiler.columns(), compiler.merge_key()
    base: Steps = ("schema", 0, "customProperties")
    options = compiler.custom(compiler.table.customProperties, ("schema", 0), _MART)
    inputs = options.get("inputs") or []
    if not isinstance(inputs, list) or not inputs or not all(name in datasets for name in inputs):
        known = ", ".join(datasets) or "none yet"
        compiler.problem(base, f"inputs {inputs!r}", f"a list of datasets that have a contract ({known})")
    partitioned_by = tuple(options.get("partitionedBy") or ())
    if partitioned_by not in ((DATE_COLUMN, REGION_COLUMN), (DATE_COLUMN,)):
        compiler.problem(base, f"partitionedBy {list(partitioned_by)!r}", "[event_date, region] or [event_date]")
    elif not set(partitioned_by) <= set(key):
        compiler.problem(base, f"key {list(key)!r}", f"a primary key that contains {list(partitioned_by)!r}")
    sql_file = _sql_file(document.source)
    sql = sql_file.read_text(encoding="utf-8").strip().rstrip(";") if sql_file.is_file() else ""
    if not sql:
        compiler.problem((), f"no SQL in {sql_file}", f"a SELECT that yields {', '.join(column.name for column in columns)}")
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


def _time(compiler: _Compiler, options: Mapping[str, Any], name: str, columns: Mapping[str, Column], default: str) -> str:
    column = options.get(name, default)
    if column not in columns or columns[column].type.kind != "timestamp" or not columns[column].required:
        compiler.problem(("schema", 0, "customProperties"), f"{name} {column!r}", "the name of a required timestamp property")
        return ""
    return column


def _start_date(compiler: _Compiler, options: Mapping[str, Any]) -> dt.date:
    try:
        return dt.date.fromisoformat(str(options.get("startDate")))
    except ValueError:
        found = repr(options.get("startDate"))
        compiler.problem(("schema", 0, "customProperties"), f"startDate {found}", 'the first day of data, such as "2026-01-01"')
        return dt.date(2000, 1, 1)


def _share(compiler: _Compiler, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        compiler.problem(("schema", 0, "customProperties"), f"maxBadRate {value!r}", "a share between 0 and 1, such as 0.05")
        return 0.0
    return float(value)


def _topic(compiler: _Compiler) -> Topic:
    servers: list[tuple[int, Server]] = [
        (index, server) for index, server in enumerate(compiler.document.model.servers or ()) if server.type == "kafka"
    ]
    name = compiler.table.physicalName or ""
    if not _TOPIC_NAME.match(name):
        compiler.problem(("schema", 0, "physicalName"), repr(name), "the Kafka topic's name")
    if len(servers) != 1:
        compiler.problem(("servers",), f"{len(servers)} Kafka servers", "exactly one server of type kafka")
        compiler.finish()
    index, server = servers[0]
    base: Steps = ("servers", index)
    if server.format != "json":
        compiler.problem((*base, "format"), repr(server.format), "json")
    options = compiler.custom(server.customProperties, base, _TOPIC)
    replicas = compiler.number(options.get("replicationFactor"), base, 3)
    in_sync = compiler.number(options.get("minInsyncReplicas"), base, 2)
    if in_sync > replicas:
        compiler.problem(base, f"minInsyncReplicas {in_sync} of {replicas} replicas", f"at most {replicas}")
    policy = options.get("cleanupPolicy", "delete")
    if policy not in ("delete", "compact"):
        compiler.problem(base, f"cleanupPolicy {policy!r}", "delete or compact")
    return Topic(
        name=name,
        partitions=compiler.number(options.get("partitions"), base, 1),
        replication_factor=replicas,
        min_insync_replicas=in_sync,
        retention=compiler.duration(options.get("retention"), base, dt.timedelta(days=7)),
        cleanup_policy=policy,
    )


def _rules(compiler: _Compiler) -> tuple[SqlRule, ...]:
    rules: list[SqlRule] = []
    for index, item in enumerate(compiler.table.quality or ()):
        path: Steps = ("schema", 0, "quality", index)
        if item.type != "custom" or item.engine != "platform":
            compiler.problem(path, f"a rule of type {item.type or 'library'!r}", "type: custom, engine: platform, implementation: <SQL predicate>")
        elif not item.id or not isinstance(item.implementation, str):
            compiler.problem(path, "a rule without id or predicate", "id: …, implementation: <SQL predicate>")
        else:
            rules.append(SqlRule(id=item.id, predicate=item.implementation, severity="warning" if item.severity == "warning" else "error"))
    return tuple(rules)
