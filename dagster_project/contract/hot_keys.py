"""`hotKeys` of a dataset: a column whose values are uneven, and what producers do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Column, HotKeys, Topic

_OPTIONS = ("column", "values", "salts")
_SALTS = 8  # spread a key over most Kafka partitions that a usual topic has
_PATH: Steps = ("schema", 0, "customProperties")


def compile_hot_keys(
    compiler: Compiler, options: Mapping[str, Any], *, columns: Sequence[Column], write_mode: str, topic: Topic
) -> HotKeys | None:
    """Read the option; `None` where the contract has none, or where something is wrong with it."""
    option = options.get("hotKeys")
    if option is None:
        return None

    def wrong(found: str, expected: str) -> None:
        compiler.problem(_PATH, f"hotKeys {found}", expected)

    if not isinstance(option, dict) or not set(option) <= set(_OPTIONS):
        wrong(repr(option), "{column: visitor_id}, and of what is known {values: [bot-1], salts: 8}")
        return None
    if write_mode != "append" or topic.cleanup_policy == "compact":
        wrong(
            f"with writeMode {write_mode} and cleanupPolicy {topic.cleanup_policy}",
            "append and delete: versions and deletes of a key are told by its plain Kafka key",
        )
    name, values, salts = option.get("column"), option.get("values", []), option.get("salts", _SALTS)
    column = next((column for column in columns if column.name == name), None)
    if column is None or column.type.kind not in ("string", "integer"):
        wrong(f"column {name!r}", "the name of a string or integer property")
    elif column.protection:
        wrong(
            f"column {name!r}, which is {column.classification or 'protected'}",
            "a column in the clear: runs name hot keys",
        )
    if not isinstance(values, list) or not all(isinstance(value, (str, int)) and str(value) for value in values):
        wrong(f"values {values!r}", "a list of the column's values, such as [bot-1]")
        return None
    if not isinstance(salts, int) or isinstance(salts, bool) or not 2 <= salts <= topic.partitions:
        if values or "salts" in option:
            wrong(f"salts {salts!r}", f"a whole number from 2 to the topic's Kafka partitions, {topic.partitions}")
        salts = _SALTS
    return HotKeys(column=str(name), values=tuple(map(str, values)), salts=salts)
