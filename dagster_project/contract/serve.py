"""Which rows of a mart the cache has, and for how long."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Serve

# The custom property of a mart.
SERVE = "serve"
_OPTIONS = ("ttl", "maxRows")
# One call brings all rows that changed, and the cache answers nobody else meanwhile: some 100 ms for so many.
_MOST_ROWS = 100_000
# A shorter life than this ends between two looks of whoever renews it; for a longer one nobody would look again, and what
# is forgotten in the cache takes memory for as long.
_SHORTEST, _LONGEST = dt.timedelta(minutes=1), dt.timedelta(days=1)


def compile_serve(
    compiler: Compiler, options: Mapping[str, Any], *, by_default: bool, freshness: dt.timedelta
) -> Serve | None:
    """What the cache has of a mart; what is wrong with it goes to the compiler.

    Unless the contract says otherwise a copy that nobody has compared with Gold for as long as the mart's rows may be old
    is worth nothing.
    """
    value = options.get(SERVE, by_default)
    ttl = min(max(freshness, _SHORTEST), _LONGEST)
    path = _path(compiler)
    if isinstance(value, bool):
        return Serve(ttl=ttl) if value else None
    if not isinstance(value, dict):
        compiler.problem(path, f"serve {value!r}", "true, false, or {ttl: PT10M, maxRows: 5000}")
        return None
    for name in sorted(value.keys() - set(_OPTIONS)):
        compiler.problem(path, f"{name} of serve", " and ".join(_OPTIONS) + " only")
    rows = compiler.number(value.get("maxRows"), path, Serve(ttl=ttl).max_rows)
    if rows > _MOST_ROWS:
        compiler.problem(path, f"maxRows {rows}", f"at most {_MOST_ROWS}: what is larger is read from Gold")
    found = compiler.duration(value.get("ttl"), path, ttl)
    if not _SHORTEST <= found <= _LONGEST:
        compiler.problem(path, f"ttl {value.get('ttl')!r}", "a duration from PT1M to P1D")
    return Serve(ttl=found, max_rows=rows)


def _path(compiler: Compiler) -> Steps:
    """Where the contract says it."""
    properties = compiler.table.customProperties or []
    index = next((index for index, item in enumerate(properties) if item.property == SERVE), 0)
    return ("schema", 0, "customProperties", index)
