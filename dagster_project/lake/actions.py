"""A commit as the Delta log spells it: one JSON object a line, as the protocol's "Actions" define them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deltalake.transaction import AddAction, RemoveAction

# What a path may hold as it is; the rest is escaped, as the protocol asks and as delta-rs does.
PLAIN = "/:+&=,()@!'~"


def spelled(
    actions: Iterable[AddAction | RemoveAction],
    *,
    cursors: Mapping[str, int],
    partition_by: Sequence[str],
    info: Mapping[str, str],
) -> bytes:
    """The content of a commit that adds and removes files and moves cursors.

    Args:
        info: for people to read.
    """
    now = int(time.time() * 1000)
    head = {
        "timestamp": now,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": json.dumps(list(partition_by))},
        "engineInfo": "lakehouse",
        **info,
    }
    lines: list[dict[str, Any]] = [{"commitInfo": head}]
    lines += ({"txn": {"appId": name, "version": value, "lastUpdated": now}} for name, value in cursors.items())
    lines += map(_file, actions)
    return b"\n".join(json.dumps(line, separators=(",", ":")).encode() for line in lines)


def _file(action: AddAction | RemoveAction) -> dict[str, Any]:
    if isinstance(action, AddAction):
        added = {
            "path": quote(action.path, safe=PLAIN),
            "partitionValues": action.partition_values,
            "size": action.size,
            "modificationTime": action.modification_time,
            "dataChange": action.data_change,
            "stats": action.stats,
        }
        return {"add": added}
    removed = {
        "path": action.path,  # as the log has it
        "dataChange": action.data_change,
        "deletionTimestamp": action.deletion_timestamp,
        "extendedFileMetadata": True,
        "partitionValues": action.partition_values,
        "size": action.size,
    }
    return {"remove": removed}
