"""Where a dataset or a mart is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.model import Engine

ENGINE = "engine"


def compile_engine(compiler: Compiler, options: Mapping[str, Any]) -> Engine:
    """The engine that a contract names, in its own process by default; problems go to the compiler."""
    found = options.get(ENGINE, "local")
    if found not in get_args(Engine):
        compiler.problem(("schema", 0, "customProperties"), f"{ENGINE} {found!r}", "local or spark")
        return "local"
    return found
