"""What must hold of a mart's rows before they are published, and what becomes of those for which it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, get_args

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Column, Consistency
from dagster_project.contract.quality import Scope, TableRule
from dagster_project.contract.rules import compile_rules

# Custom properties of a mart that are read here.
PUBLISHING = ("consistency", "appendOnly")
# The rule of a mart that is append-only, as it is named where it is broken.
APPEND_ONLY = "append_only"


class Publishing(TypedDict):
    """Fields of a mart."""

    consistency: Consistency
    append_only: bool
    rules: tuple[TableRule, ...]


def compile_publishing(compiler: Compiler, columns: Sequence[Column], options: Mapping[str, Any]) -> Publishing:
    """The rules of a mart, and what it means to break one; problems go to the compiler."""
    base: Steps = ("schema", 0, "customProperties")
    consistency, append_only = options.get("consistency", "ap"), options.get("appendOnly", False)
    if consistency not in get_args(Consistency):
        compiler.problem(base, f"consistency {consistency!r}", "cp (all of a batch or nothing) or ap")
    if not isinstance(append_only, bool):
        compiler.problem(base, f"appendOnly {append_only!r}", "true or false")
    rules = compile_rules(compiler, columns, scopes=get_args(Scope))
    if rules.rows or rules.statistics:
        compiler.problem(
            ("schema", 0, "quality"), "a row rule or a statistical one", "metric: … or type: sql, in a mart"
        )
    if append_only and any(rule.id == APPEND_ONLY for rule in rules.tables):
        compiler.problem(
            ("schema", 0, "quality"), f"a rule {APPEND_ONLY!r}", "another id: appendOnly is checked as this"
        )
    return {"consistency": consistency, "append_only": append_only is True, "rules": rules.tables}
