"""What marts have in common: keys of one dimension, and measures that add up alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Problem, Steps
from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Conformed, Mart

OPTION = "conformedTo"
_BASE: Steps = ("schema", 0, "customProperties")
_MEASURES = ("integer", "decimal")  # sums of floats depend on the order of their rows


def compile_conformed(compiler: Compiler, options: Mapping[str, Any]) -> tuple[Conformed, ...]:
    """What a mart declares; whether the other mart and its column are there is for `dangling`."""
    found = options.get(OPTION, {})
    if not isinstance(found, dict) or not all(isinstance(to, str) and to.count(".") == 1 for to in found.values()):
        expected = "columns of this mart, each with the column of another mart that it is: {region: dim_region.region}"
        compiler.problem(_BASE, f"{OPTION} {found!r}", expected)
        return ()
    names = {item.name for item in compiler.table.properties or []}
    for column in found.keys() - names:
        compiler.problem(
            _BASE, f"{OPTION} of {column!r}", f"a property of this mart: {', '.join(sorted(map(str, names)))}"
        )
    return tuple(
        Conformed(column=column, mart=to.partition(".")[0], to=to.partition(".")[2]) for column, to in found.items()
    )


def dangling(mart: Mart, marts: Mapping[str, Mart]) -> Iterator[Problem]:
    """What a mart declares to be a column of another mart, and cannot be."""
    own = {column.name: column.type for column in mart.columns}
    for item in mart.conformed:
        found = f"{OPTION} {item.column}: {item.mart}.{item.to}"
        other = marts.get(item.mart)
        types = {} if other is None else {column.name: column.type for column in other.columns}
        if other is None or item.to not in types or other is mart:
            yield Problem(path=_BASE, found=found, expected=f"a column of another mart ({', '.join(marts)})")
        elif not other.partitioned_by and types[item.to] != own[item.column]:
            expected = f"a column of type {describe(own[item.column])}; that one is {describe(types[item.to])}"
            yield Problem(path=_BASE, found=found, expected=expected)
        elif other.partitioned_by and not (
            own[item.column].kind in _MEASURES
            and types[item.to].kind in _MEASURES
            and set(other.partitioned_by) <= set(mart.merge_key)
        ):
            expected = f"a sum of integers or decimals, in a mart whose key has {', '.join(other.partitioned_by)}"
            yield Problem(path=_BASE, found=found, expected=expected)
