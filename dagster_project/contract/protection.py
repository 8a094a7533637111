"""What becomes of sensitive columns from Silver on, as their contract says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from open_data_contract_standard.model import SchemaProperty

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.constraints import PROTECTION, PSEUDONYM_DOMAIN
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Column, DataType, Protection

# Classifications whose values are protected unless the contract says how, which it may, but not that they are not.
CONFIDENTIAL = ("confidential", "restricted")
# Of these a value has one spelling, which its pseudonym is computed from.
_SPELLED = ("string", "integer")
_DOMAIN = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_BASE: Steps = ("schema", 0, "properties")


def protect_columns(
    compiler: Compiler, columns: tuple[Column, ...], *, key: tuple[str, ...], needed: Mapping[str, str]
) -> tuple[Column, ...]:
    """The columns with what becomes of each.

    Args:
        needed: columns that the platform needs in the clear, and what for.
    """
    items = compiler.table.properties or []
    protected = tuple(
        _protected(compiler, item, column, (*_BASE, index), needed)
        for index, (item, column) in enumerate(zip(items, columns, strict=True))
    )
    for index, column in enumerate(protected):
        if column.protection == "drop" and column.name in key:
            expected = "a key of strings and integers, which have pseudonyms: Silver tells rows by it"
            compiler.problem((*_BASE, index), f"{column.name} of the key is dropped", expected)
    return protected


def refuse_protection(compiler: Compiler) -> None:
    """Of a mart: its SQL sees what Silver has, which is protected already."""
    for index, item in enumerate(compiler.table.properties or []):
        for name in sorted(_options(item)):
            expected = "it at the dataset's own column; a mart has what Silver has"
            compiler.problem((*_BASE, index, "customProperties"), f"{name} in a mart", expected)


def _protected(
    compiler: Compiler, item: SchemaProperty, column: Column, path: Steps, needed: Mapping[str, str]
) -> Column:
    options = _options(item)
    for inner in _confidential(column.type, f"{column.name}."):
        expected = f"classification: confidential on {column.name} itself: it is protected as a whole"
        compiler.problem(path, f"{inner} is confidential, inside of {column.name}", expected)
    default = "" if column.classification not in CONFIDENTIAL else _default(column)
    protection = options.get(PROTECTION, default)
    where: Steps = (*path, "customProperties")
    if protection not in ("pseudonymise", "drop") and (protection != "" or PROTECTION in options):
        compiler.problem(where, f"{PROTECTION} {protection!r}", "pseudonymise or drop")
        return column
    if protection and column.name in needed:
        expected = f"a column in the clear, or another {needed[column.name]}"
        compiler.problem(path, f"{column.name} is the {needed[column.name]} and cannot be protected", expected)
    if protection == "pseudonymise" and column.type.kind not in _SPELLED:
        compiler.problem(where, f"a pseudonym of a {column.type.kind}", "a string or integer, or protection: drop")
    domain = options.get(PSEUDONYM_DOMAIN, column.name.lower() if protection == "pseudonymise" else "")
    if PSEUDONYM_DOMAIN in options and (
        protection != "pseudonymise" or not isinstance(domain, str) or not _DOMAIN.fullmatch(domain)
    ):
        expected = "lower-case letters, digits, '_', '.' and '-', on a property that is pseudonymised"
        compiler.problem(where, f"{PSEUDONYM_DOMAIN} {domain!r}", expected)
    return replace(column, protection=protection, pseudonym_domain=domain)


def _default(column: Column) -> Protection:
    return "pseudonymise" if column.type.kind in _SPELLED else "drop"


def _options(item: SchemaProperty) -> dict[str, Any]:
    known = (PROTECTION, PSEUDONYM_DOMAIN)
    return {custom.property: custom.value for custom in item.customProperties or () if custom.property in known}


def _confidential(data_type: DataType, within: str) -> Iterator[str]:
    """Fields inside of a column that are classified on their own."""
    while data_type.element is not None:
        data_type = data_type.element
    for field in data_type.fields:
        if field.classification in CONFIDENTIAL:
            yield within + field.name
        yield from _confidential(field.type, f"{within}{field.name}.")
