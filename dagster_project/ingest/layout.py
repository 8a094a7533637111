"""A contract's columns in the flat form that the scanner works with."""

from __future__ import annotations

import numpy as np

from dagster_project.contract.model import Column, DataType
from dagster_project.ingest import scanner
from dagster_project.ingest.scanner import Layout

_KINDS = {
    "string": scanner.STRING,
    "integer": scanner.INTEGER,
    "number": scanner.NUMBER,
    "decimal": scanner.DECIMAL,
    "boolean": scanner.BOOLEAN,
    "timestamp": scanner.TIMESTAMP,
    "date": scanner.DATE,
    "list": scanner.LIST,
    "struct": scanner.STRUCT,
}


def layout_of(columns: tuple[Column, ...]) -> Layout:
    """Number the columns and all that is in them, breadth first, so that children are neighbours."""
    row = DataType(kind="struct", fields=columns)
    nodes: list[tuple[str, DataType, int]] = [("", row, 0)]
    first, inner, levels = [], [], 1
    for node, (_, data_type, level) in enumerate(nodes):
        first.append(len(nodes))
        inner.append(levels if data_type.kind == "list" else level)
        if data_type.kind == "list":
            levels += 1
        nodes.extend((name, child, inner[node]) for name, child in children(data_type))
    level = np.array([level for _, _, level in nodes])
    names = [name.encode() for name, _, _ in nodes]
    return Layout(
        kind=np.array([_KINDS[data_type.kind] for _, data_type, _ in nodes]),
        first=np.array(first),
        children=np.array([len(children(data_type)) for _, data_type, _ in nodes]),
        level=level,
        inner=np.array(inner),
        whole=np.array([_whole(data_type) for _, data_type, _ in nodes]),
        scale=np.array([data_type.scale if data_type.kind == "decimal" else 0 for _, data_type, _ in nodes]),
        names=np.frombuffer(b"".join(names), np.uint8),
        name_at=np.concatenate([np.zeros(1, np.int64), np.cumsum([len(name) for name in names])]),
        members=np.argsort(level, kind="stable"),
        member_at=np.searchsorted(np.sort(level), np.arange(levels + 1)),
    )


def children(data_type: DataType) -> list[tuple[str, DataType]]:
    """What is in a type, by name; the element of a list has none."""
    if data_type.kind == "list":
        assert data_type.element is not None
        return [("", data_type.element)]
    return [(field.name, field.type) for field in data_type.fields]


def _whole(data_type: DataType) -> int:
    return data_type.bits if data_type.kind == "integer" else data_type.precision - data_type.scale
