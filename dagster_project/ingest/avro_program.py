"""From the schema that messages were written with to a program that reads a contract's columns from them.

What differs between the two is resolved as Avro does it: fields by name, those that only one of them has, wider numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Column, DataType
from dagster_project.ingest import avro_scanner as ops
from dagster_project.ingest.avro_scanner import Program
from dagster_project.ingest.scanner import Layout

# Nested deeper than any event; a type that holds itself has no end.
_DEPTH = 60
# Far more than any event needs; types that are named once and used again can make a short schema a program without end.
_STEPS = 50_000
_DIGITS = 18  # of any number that fits 64 bits whatever they are
_SIMPLE = {
    "boolean": ops.BOOLEAN,
    "int": ops.INT,
    "long": ops.LONG,
    "float": ops.FLOAT,
    "double": ops.DOUBLE,
    "bytes": ops.BYTES,
    "string": ops.STRING,
}
# What a column takes, by type; those with a logical type below.
_PROMOTED = {
    "string": ("string", "bytes"),
    "number": ("int", "long", "float", "double"),
    "boolean": ("boolean",),
}
UNITS = {
    "timestamp-millis": 1_000,
    "timestamp-micros": 1,
    "local-timestamp-millis": 1_000,
    "local-timestamp-micros": 1,
}


class Unfit(Exception):  # noqa: N818 a verdict on a schema, not a fault of ours
    """No message of the schema has the contract's columns; the text says where, what was found and expected."""


def compile_program(
    schema: Any, columns: tuple[Column, ...], layout: Layout, *, named: Mapping[str, Any]
) -> tuple[Program, frozenset[str]]:
    """Compile a schema; and name its outer fields that no column is for, or for something in them.

    Args:
        schema, named: as `fastavro.parse_schema` gives them: names are full, and where a type was named before stands its
            name.
        layout: of the columns.

    Raises:
        Unfit: it does not go with the contract.
    """
    compiler = _Compiler(layout, named)
    compiler.value(schema, DataType(kind="struct", fields=columns), 0, "")
    compiler.emit(ops.END)
    steps = np.array(compiler.steps, np.int64).T.copy()
    program = Program(
        op=steps[0],
        node=steps[1],
        argument=steps[2],
        more=steps[3],
        limit=steps[4],
        branches=np.array(compiler.branches, np.int64),
        open=np.zeros(compiler.deepest + 1, np.int64),
    )
    return program, frozenset(compiler.drifted)


def kind_of(schema: Any) -> str:
    """The type of a schema: of a reference its name."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


class _Compiler:
    def __init__(self, layout: Layout, named: Mapping[str, Any]) -> None:
        self.steps: list[list[int]] = []
        self.branches: list[int] = []
        self.deepest = 0
        self.drifted: set[str] = set()
        self._layout = layout
        self._named = named
        self._open = 0
        self._depth = 0

    def emit(self, op: int, *, node: int = -1, argument: int = 0, more: int = 0, limit: int = 0) -> int:
        self.steps.append([op, node, argument, more, limit])
        return len(self.steps) - 1

    def value(self, schema: Any, wanted: DataType | None, node: int, path: str) -> int:
        """Read a value; returns the fewest bytes that it takes.

        Args:
            wanted: the column's type, or `None` to pass over it.
            node: the column's.
        """
        self._depth += 1
        if self._depth > _DEPTH or len(self.steps) > _STEPS:
            raise Unfit(f"{path}: nested too deeply, or without end")
        if isinstance(schema, str):
            schema = self._named.get(schema, schema)
        kind = kind_of(schema)
        if kind == "union":
            fewest = self._union(list(schema), wanted, node, path)
        elif kind == "record":
            fewest = self._record(schema, wanted, node, path)
        elif kind in ("array", "map"):
            fewest = self._list(schema, kind, wanted, node, path)
        else:
            fewest = self._scalar(schema, kind, wanted, node, path)
        self._depth -= 1
        return fewest

    def _union(self, schema: Sequence[Any], wanted: DataType | None, node: int, path: str) -> int:
        kinds = [kind_of(branch) for branch in schema]
        if wanted is not None and len(kinds) - kinds.count("null") != 1:
            raise Unfit(f"{path}: found a union of {', '.join(kinds)}, expected {describe(wanted)}")
        first = len(self.branches)
        self.branches += [0] * len(kinds)
        self.emit(ops.UNION, argument=first, more=len(kinds))
        ends: list[int] = []
        for index, branch in enumerate(schema):
            self.branches[first + index] = len(self.steps)
            self.value(branch, None if kinds[index] == "null" else wanted, node, path)
            ends.append(self.emit(ops.JUMP))
        for end in ends:
            self.steps[end][2] = len(self.steps)
        return 1

    def _record(self, schema: Mapping[str, Any], wanted: DataType | None, node: int, path: str) -> int:
        if wanted is not None and wanted.kind != "struct":
            raise _mismatch(path, "record", wanted)
        fields = {column.name: index for index, column in enumerate(wanted.fields)} if wanted else {}
        named = {field["name"] for field in schema["fields"]}
        for column in wanted.fields if wanted else ():
            if column.required and column.name not in named:
                raise Unfit(f"{_inside(path, column.name)}: not in it, and required")
        if wanted is not None and node > 0:
            self.emit(ops.STRUCT, node=node)
        fewest = 0
        for field in schema["fields"]:
            inside, index = _inside(path, field["name"]), fields.get(field["name"])
            if wanted is None or index is None:
                self.drifted.add(inside.partition(".")[0].removesuffix("[]"))
                fewest += self.value(field["type"], None, -1, inside)
            else:
                child = int(self._layout.first[node]) + index
                fewest += self.value(field["type"], wanted.fields[index].type, child, inside)
        return fewest

    def _list(self, schema: Mapping[str, Any], kind: str, wanted: DataType | None, node: int, path: str) -> int:
        if wanted is not None and (kind == "map" or wanted.kind != "list"):
            raise _mismatch(path, kind, wanted)
        self.emit(ops.LIST, node=node)
        again = self.emit(ops.NEXT, node=node)
        self._open += 1
        self.deepest = max(self.deepest, self._open)
        if kind == "map":
            self.emit(ops.STRING)
            self.value(schema["values"], None, -1, f"{path}[]")
        else:
            child = int(self._layout.first[node]) if wanted else -1
            if not self.value(schema["items"], wanted.element if wanted else None, child, f"{path}[]"):
                raise Unfit(f"{path}: a list of what takes no bytes may be of any length")
        self._open -= 1
        self.emit(ops.JUMP, argument=again)
        self.steps[again][2] = len(self.steps)
        return 1

    def _scalar(self, schema: Any, kind: str, wanted: DataType | None, node: int, path: str) -> int:
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        size = int(schema["size"]) if kind == "fixed" else -1
        if wanted is not None:
            self._column(schema, kind, logical, wanted, node, path)
        elif kind == "fixed":
            self.emit(ops.FIXED, argument=size)
        elif kind == "enum":
            self.emit(ops.ENUM, more=len(schema["symbols"]))
        elif kind in _SIMPLE:
            self.emit(_SIMPLE[kind])
        elif kind != "null":
            raise Unfit(f"{path}: found {kind}, which is no type of Avro")
        return {"null": 0, "fixed": size, "float": 4, "double": 8}.get(kind, 1)

    def _column(self, schema: Any, kind: str, logical: str | None, wanted: DataType, node: int, path: str) -> None:
        match wanted.kind:
            case "decimal" if kind in ("bytes", "fixed") and logical == "decimal":
                scale = int(schema.get("scale", 0))
                size = int(schema["size"]) if kind == "fixed" else -1
                # With more decimals than the column has a value may fit or not.
                factor = 10 ** (wanted.scale - scale) if 0 <= wanted.scale - scale <= _DIGITS else 0
                limit = 10 ** min(wanted.precision, _DIGITS) // factor if factor else 0
                self.emit(ops.DECIMAL, node=node, argument=factor, more=size, limit=limit)
            case "date" if kind == "int" and logical == "date":
                self.emit(ops.DATE, node=node)
            case "timestamp" if kind == "long" and logical in UNITS:
                self.emit(ops.TIMESTAMP, node=node, argument=UNITS[logical])
            case "integer" if kind == "int" or (kind == "long" and wanted.bits == 64):  # noqa: PLR2004 bits
                self.emit(_SIMPLE[kind], node=node)
            case "string":
                self._promoted(kind, wanted, ops.STRING, node, path)
            case "number" | "boolean":
                self._promoted(kind, wanted, _SIMPLE.get(kind, ops.END), node, path)
            case _:
                raise _mismatch(path, f"{kind} ({logical})" if logical else kind, wanted)

    def _promoted(self, kind: str, wanted: DataType, op: int, node: int, path: str) -> None:
        if kind not in _PROMOTED[wanted.kind]:
            raise _mismatch(path, kind, wanted)
        self.emit(op, node=node)


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _mismatch(path: str, found: str, wanted: DataType) -> Unfit:
    return Unfit(f"{path or 'payload'}: found {found}, expected {describe(wanted)}")
