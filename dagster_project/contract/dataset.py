"""From a contract of a topic to a dataset, with the semantic rules that the standard leaves open."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, TypedDict, get_args

from open_data_contract_standard.model import Server

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Document, Steps
from dagster_project.contract.hot_keys import compile_hot_keys
from dagster_project.contract.model import (
    DATE_COLUMN,
    REGION_COLUMN,
    RESERVED_PREFIX,
    Beyond,
    Column,
    Dataset,
    Format,
    Priority,
    Topic,
    WriteMode,
)
from dagster_project.contract.protection import protect_columns
from dagster_project.contract.quality import Breaker
from dagster_project.contract.rules import compile_rules
from dagster_project.contract.service_levels import compile_slo

_TOPIC = (
    "partitions",
    "replicationFactor",
    "minInsyncReplicas",
    "retention",
    "cleanupPolicy",
    "wireFormat",
    "maxMessageBytes",
)
_DATASET = ("eventTime", "partitionTime", "startDate", "writeMode", "maxBadRate", "hotKeys", "priority", "shards")
_LATENESS = ("allowedLateness", "latenessHorizon", "beyondHorizon", "idleAfter")
# Each shard is a run of its own, and an instance has sixteen of them for all that it does: `deploy/dagster.yaml`.
_MOST_SHARDS = 16
_BREAKER = ("breakerBadRate", "breakerMinRows", "breakerProbe")
# Regions are folder names and part of Dagster's partition keys.
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's own limit


def compile_dataset(document: Document) -> Dataset:
    """Build a dataset from a contract whose schema object is a topic.

    Raises:
        ContractError: naming every rule that the contract breaks.
    """
    compiler = Compiler(document)
    table, header = compiler.table, compiler.header()
    columns, key = compiler.columns(), compiler.merge_key()
    by_name = {column.name: column for column in columns}
    options = compiler.custom(table.customProperties, ("schema", 0), (*_DATASET, *_LATENESS, *_BREAKER))
    regional = [item for item in table.properties or [] if item.partitioned]
    region = regional[0].name or "" if regional else ""
    regions = tuple(str(value) for value in by_name[region].constraints.enum) if region in by_name else ()
    base: Steps = ("schema", 0)
    for name in regions:
        if not _REGION.fullmatch(name):
            compiler.problem((*base, "properties"), f"region {name!r}", "letters, digits, '_', '.' and '-' only")
    if len(regional) != 1 or not regions or (region in by_name and by_name[region].type.kind != "string"):
        compiler.problem(
            (*base, "properties"), "no region", "partitioned: true and an enum on exactly one string property"
        )
    for name in (*key, region):
        if name in by_name and not by_name[name].required:
            compiler.problem(
                (*base, "properties"), f"{name!r} is optional", "required: true, as a key or region must be"
            )
    for column in columns:
        if column.name.startswith(RESERVED_PREFIX) or column.name == DATE_COLUMN:
            compiler.problem((*base, "properties"), repr(column.name), "another name: this one is the platform's own")
        if column.name == REGION_COLUMN and region != REGION_COLUMN:
            compiler.problem(
                (*base, "properties"),
                "'region' is not the partitioned property",
                "partitioned: true on it, or another name",
            )
    event_time = _time(compiler, options, "eventTime", by_name)
    partition_time = _time(compiler, options, "partitionTime", by_name) if "partitionTime" in options else event_time
    write_mode = options.get("writeMode", "append")
    if write_mode not in get_args(WriteMode):
        compiler.problem((*base, "customProperties"), f"writeMode {write_mode!r}", "append, upsert or history")
    needed = {region: "region", partition_time: "partition time", event_time: "event time"}
    columns = protect_columns(compiler, columns, key=key, needed=needed)
    rules = compile_rules(compiler, columns)
    topic = _topic(compiler)
    dataset = Dataset(
        **header,
        topic=topic,
        columns=columns,
        merge_key=key,
        event_time=event_time,
        partition_time=partition_time,
        stable_partitions=write_mode != "upsert" or "partitionTime" in options,
        region=region,
        regions=regions,
        start_date=_start_date(compiler, options),
        write_mode=write_mode,
        **_lateness(compiler, options),
        rules=rules.rows,
        table_rules=rules.tables,
        statistics=rules.statistics,
        max_bad_rate=_share(compiler, "maxBadRate", options.get("maxBadRate", 0.05)),
        breaker=_breaker(compiler, options),
        hot_keys=compile_hot_keys(compiler, options, columns=columns, write_mode=write_mode, topic=topic),
        priority=_priority(compiler, options),
        shards=_shards(compiler, options, topic),
        slo=compile_slo(compiler),
    )
    compiler.finish()
    return dataset


def _time(compiler: Compiler, options: Mapping[str, Any], name: str, columns: Mapping[str, Column]) -> str:
    column = options.get(name, "")
    if column not in columns or columns[column].type.kind != "timestamp" or not columns[column].required:
        compiler.problem(
            ("schema", 0, "customProperties"), f"{name} {column!r}", "the name of a required timestamp property"
        )
        return ""
    return column


def _start_date(compiler: Compiler, options: Mapping[str, Any]) -> dt.date:
    try:
        return dt.date.fromisoformat(str(options.get("startDate")))
    except ValueError:
        found = repr(options.get("startDate"))
        compiler.problem(
            ("schema", 0, "customProperties"), f"startDate {found}", 'the first day of data, such as "2026-01-01"'
        )
        return dt.date(2000, 1, 1)


class _Lateness(TypedDict):
    allowed_lateness: dt.timedelta
    lateness_horizon: dt.timedelta | None
    beyond_horizon: Beyond
    idle_after: dt.timedelta


def _lateness(compiler: Compiler, options: Mapping[str, Any]) -> _Lateness:
    path = ("schema", 0, "customProperties")
    allowed, idle = (
        compiler.duration(options.get(name), path, dt.timedelta(minutes=10))
        for name in ("allowedLateness", "idleAfter")
    )
    bounded = options.get("latenessHorizon") is not None
    horizon = compiler.duration(options.get("latenessHorizon"), path, allowed) if bounded else None
    if horizon is not None and horizon < allowed:
        compiler.problem(
            path,
            f"latenessHorizon {options['latenessHorizon']!r}",
            "no less than the allowed lateness, as PT7D to PT10M",
        )
    beyond = options.get("beyondHorizon", "keep")
    if beyond not in ("keep", "quarantine"):
        compiler.problem(path, f"beyondHorizon {beyond!r}", "keep or quarantine")
    elif "beyondHorizon" in options and not bounded:
        compiler.problem(path, f"beyondHorizon {beyond!r} of no horizon", "latenessHorizon beside it, such as P7D")
    return _Lateness(allowed_lateness=allowed, lateness_horizon=horizon, beyond_horizon=beyond, idle_after=idle)


def _breaker(compiler: Compiler, options: Mapping[str, Any]) -> Breaker:
    path, default = ("schema", 0, "customProperties"), Breaker()
    return Breaker(
        bad_rate=_share(compiler, "breakerBadRate", options.get("breakerBadRate", default.bad_rate)),
        min_rows=compiler.number(options.get("breakerMinRows"), path, default.min_rows),
        probe=compiler.duration(options.get("breakerProbe"), path, default.probe),
    )


def _priority(compiler: Compiler, options: Mapping[str, Any]) -> Priority:
    found = options.get("priority", "normal")
    if found not in get_args(Priority):
        compiler.problem(("schema", 0, "customProperties"), f"priority {found!r}", "low, normal or high")
    return found


def _shards(compiler: Compiler, options: Mapping[str, Any], topic: Topic) -> int:
    path, most = ("schema", 0, "customProperties"), min(topic.partitions, _MOST_SHARDS)
    found = compiler.number(options.get("shards"), path, 1)
    if found > most:
        compiler.problem(
            path,
            f"{found} shards of {topic.partitions} Kafka partitions",
            f"from 1 to {most}: a Kafka partition is read by one run, and an instance has {_MOST_SHARDS} runs at once",
        )
    return found


def _share(compiler: Compiler, name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        compiler.problem(
            ("schema", 0, "customProperties"), f"{name} {value!r}", "a share between 0 and 1, such as 0.05"
        )
        return 0.0
    return float(value)


def _topic(compiler: Compiler) -> Topic:
    servers: list[tuple[int, Server]] = [
        (index, server) for index, server in enumerate(compiler.document.model.servers or ()) if server.type == "kafka"
    ]
    name = compiler.table.physicalName or ""
    if not _TOPIC_NAME.fullmatch(name) or name in (".", ".."):
        compiler.problem(("schema", 0, "physicalName"), repr(name), "the Kafka topic's name")
    if len(servers) != 1:
        compiler.problem(("servers",), f"{len(servers)} Kafka servers", "exactly one server of type kafka")
        compiler.finish()
    index, server = servers[0]
    base: Steps = ("servers", index)
    if server.format not in ("json", "avro"):
        compiler.problem((*base, "format"), repr(server.format), "json or avro")
    options = compiler.custom(server.customProperties, base, _TOPIC)
    written: Format = "avro" if server.format == "avro" else "json"
    wire = options.get("wireFormat", "confluent" if written == "avro" else "plain")
    if wire not in ("plain", "confluent"):
        compiler.problem(base, f"wireFormat {wire!r}", "plain or confluent")
    elif written == "avro" and wire == "plain":
        compiler.problem(base, "wireFormat 'plain' of avro", "confluent: only its schema tells what the bytes mean")
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
        max_message_bytes=compiler.number(options["maxMessageBytes"], base, 1)
        if "maxMessageBytes" in options
        else None,
        format=written,
        wire_format=wire,
    )
