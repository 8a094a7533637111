"""Which payloads may mean something else than DuckDB made of them.

Nothing here decides: a payload in doubt is decoded exactly. So a doubt too many costs time, and one too few an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import polars as pl

from dagster_project.contract.model import Column, DataType
from dagster_project.ingest import exact
from dagster_project.ingest.extent import Extent, Marks

# What DuckDB's parser forgives: trailing commas, and the constants of JavaScript. The first search is the faster one.
_LENIENT = r",[ \t\r\n]*[\]}]|[nN][aA][nN]|[iI][nN][fF]"
_LENIENT_IN_PLACE = r",[ \t\r\n]*[\]}]|[:,\[][ \t\r\n]*-?(?:[nN][aA][nN]|[iI][nN][fF])"
# A double holds 15 decimal digits exactly; amounts of more digits, or next to nothing, need the text itself.
_DIGITS = 16
_IMPRECISE = rf"[0-9.]{{{_DIGITS}}}|[:,\[][ \t\r\n]*-?[0-9.]+[eE]-[0-9]{{3}}"


def doubtful(
    texts: pl.Series, known: Extent, columns: Sequence[Column], *, connection: duckdb.DuckDBPyConnection
) -> Marks:
    """Mark the texts that may hold more than what is known of them, and might mean something else for it."""
    marks = np.zeros(len(texts), np.bool_)
    slack = texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64) - known.lengths

    def mark(rows: np.ndarray, pattern: str) -> None:
        if rows.size:
            marks[rows] |= texts.gather(rows).str.contains(pattern).fill_null(True).to_numpy()

    mark(np.flatnonzero(slack != 0), _LENIENT)
    lenient = np.flatnonzero(marks)
    marks[lenient] = False
    mark(lenient, _LENIENT_IN_PLACE)
    if any(_has_decimals(column.type) for column in columns):
        # To hide digits from a double, a number has to have more of them than the longest that is known.
        mark(np.flatnonzero(slack >= _DIGITS - min(known.digits, _DIGITS)), _IMPRECISE)
    # What takes hundreds of bytes: a level of nesting takes two brackets, and DuckDB has no limit to either.
    large = np.flatnonzero(slack >= min(2 * exact.MAX_DEPTH, exact.MAX_DIGITS))
    if large.size:
        found = texts.gather(large).str
        brackets = found.count_matches("[", literal=True) + found.count_matches("{", literal=True)
        marks[large] |= (brackets > exact.MAX_DEPTH).fill_null(True).to_numpy()
        mark(large, rf"[0-9]{{{exact.MAX_DIGITS + 1}}}")
    shapes = np.flatnonzero(known.doubts)
    if shapes.size:
        connection.register("shapes", pl.DataFrame({"p": texts.gather(shapes)}).to_arrow())
        wrong = " OR ".join(_wrong_shapes(columns))
        answer = connection.sql(f"SELECT coalesce({wrong}, true) FROM shapes").to_arrow_table()[0]
        marks[shapes] |= answer.to_numpy()
    return marks


def _has_decimals(data_type: DataType) -> bool:
    inner = (data_type.element, *(field.type for field in data_type.fields))
    return data_type.kind == "decimal" or any(_has_decimals(item) for item in inner if item is not None)


def _wrong_shapes(columns: Sequence[Column]) -> Iterator[str]:
    """SQL over valid JSON `p`: no object, or something else where there must be an array or an object, if anything."""
    yield "json_type(p) <> 'OBJECT'"
    for column in columns:
        for path, kind in _containers(column.type, f'$."{column.name}"'):
            found = "json_type(p, '" + path.replace("'", "''") + "')"
            wrong = f"NOT IN ('{kind}', 'NULL')"
            # A path through a list answers with a list of types, any other with one type.
            yield (
                f"len(list_filter({found}, lambda t: t {wrong})) > 0"
                if "[*]" in path
                else f"coalesce({found} {wrong}, false)"
            )


def _containers(data_type: DataType, path: str) -> Iterator[tuple[str, str]]:
    if data_type.kind == "list":
        assert data_type.element is not None
        yield path, "ARRAY"
        yield from _containers(data_type.element, f"{path}[*]")
    elif data_type.kind == "struct":
        yield path, "OBJECT"
        for field in data_type.fields:
            yield from _containers(field.type, f'{path}."{field.name}"')
