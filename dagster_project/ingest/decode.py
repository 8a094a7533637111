"""Decoding a batch of JSON payloads by column, and naming what is wrong with those that do not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import duckdb
import polars as pl

from dagster_project.contract.dtypes import duckdb_type, polars_schema
from dagster_project.contract.model import Column, DataType
from dagster_project.ingest import exact

ERROR = "_error"
# What DuckDB's json_type may answer for a value that needs no coercion.
_JSON_TYPES = {
    "string": ("VARCHAR",),
    "integer": ("BIGINT", "UBIGINT"),
    "number": ("BIGINT", "UBIGINT", "DOUBLE"),
    "decimal": ("BIGINT", "UBIGINT", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "date": ("VARCHAR",),
    "timestamp": ("VARCHAR",),
    "list": ("ARRAY",),
    "struct": ("OBJECT",),
}


class Decoder:
    """Decodes payloads of one contract.

    DuckDB decodes all of them at once and vouches for those whose values needed no coercion; the rest, few in any
    healthy stream, go through `exact.decode`, which also names the reason where a payload is poison.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._schema = polars_schema(columns)
        self._query = _query(columns)
        self._connection = duckdb.connect(config={"threads": 2})  # the machine's cores; polars has its own pool
        self._connection.execute("SET TimeZone = 'UTC'")

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        """Decode a Binary series without nulls.

        Returns:
            One row a payload, in order: the contract's columns (all null where the payload is poison) and `_error`.
        """
        messages = pl.DataFrame({"p": _utf8(payloads)}).with_row_index("i")
        self._connection.register("messages", messages.to_arrow())
        frame = pl.DataFrame(self._connection.sql(self._query).to_arrow_table())
        assert len(frame) == len(payloads), "the decoder must answer for every payload"
        suspects = frame["_suspect"].arg_true()
        frame = frame.select(pl.col(name).cast(dtype) for name, dtype in self._schema.items())
        frame = frame.with_columns(pl.lit(None, pl.String).alias(ERROR))
        return self._replace(frame, suspects, payloads) if len(suspects) else frame

    def _replace(self, frame: pl.DataFrame, suspects: pl.Series, payloads: pl.Series) -> pl.DataFrame:
        rows: list[dict[str, object]] = []
        for payload in payloads.gather(suspects):
            try:
                rows.append({**exact.decode(payload, self._columns), ERROR: None})
            except exact.Rejected as reason:
                rows.append({ERROR: str(reason)})
        exactly = pl.DataFrame(rows, schema={**self._schema, ERROR: pl.String}).with_columns(
            suspects.cast(pl.UInt32).alias("i")
        )
        sound = frame.with_row_index("i").join(exactly.select("i"), on="i", how="anti")
        return pl.concat([sound, exactly.select(sound.columns)]).sort("i").drop("i")


def _utf8(payloads: pl.Series) -> pl.Series:
    """Payloads as text; those that are not UTF-8 become empty, which is no JSON."""
    try:
        return payloads.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series([_text(payload) for payload in payloads], dtype=pl.String)


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _query(columns: tuple[Column, ...]) -> str:
    """SQL over `messages(i, p)`: the typed columns and `_suspect`, true where a value was coerced or lost."""
    loose = json.dumps({column.name: _loose(column.type) for column in columns}).replace("'", "''")
    paths = [(f'$."{column.name}"', column.type) for column in columns]
    nested = [leaf for column in columns for leaf in _leaves(column.type, f'$."{column.name}"')]
    has_decimals = any(data_type.kind == "decimal" for _, data_type in (*paths, *nested))
    types = ", ".join(f"'{path}'" for path, _ in paths)
    target = "STRUCT(" + ", ".join(f'"{column.name}" {duckdb_type(column.type)}' for column in columns) + ")"
    doubts = [
        # Invalid JSON, and what DuckDB's parser forgives: trailing commas and the constants of JavaScript.
        "r IS NULL",
        r"regexp_matches(p, ',\s*[\]}]|NaN|Infinity|nan|inf')",
        # Openings enough to be nested too deeply, for which DuckDB has no limit of its own.
        rf"regexp_matches(p, '^(?:[^\[{{]*[\[{{]){{{exact.MAX_DEPTH + 1}}}')",
        # A double holds 15 decimal digits exactly; amounts of more digits, or next to nothing, need the text itself.
        *([r"regexp_matches(p, '[0-9.]{16}|[eE]-[0-9]{3}')"] if has_decimals else []),
        *(
            f"(k[{index}] IS NOT NULL AND k[{index}] NOT IN ({_quoted((*_JSON_TYPES[kind.kind], 'NULL'))}))"
            for index, (_, kind) in enumerate(paths, 1)
        ),
        *(
            f"(k[{index}] IS NOT NULL AND k[{index}] <> 'NULL' AND t.\"{column.name}\" IS NULL)"
            for index, column in enumerate(columns, 1)
        ),
        *(
            f"len(list_filter(n{index}, lambda x: x NOT IN ({_quoted((*_JSON_TYPES[kind.kind], 'NULL'))}))) > 0"
            for index, (_, kind) in enumerate(nested)
        ),
        *(doubt for column in columns for doubt in _value_doubts(column)),
    ]
    # A path through a list answers with a list of types, any other with one type.
    kinds = [f"json_type(p, '{path}')" if "[*]" in path else f"[json_type(p, '{path}')]" for path, _ in nested]
    leaves = "".join(f", {kind} AS n{index}" for index, kind in enumerate(kinds))
    selected = ", ".join(f't."{column.name}"' for column in columns)
    # MATERIALIZED keeps DuckDB from parsing again for every field that is taken out of the struct.
    return f"""
        WITH valid AS MATERIALIZED (
            SELECT i, p, coalesce(json_valid(p) AND left(ltrim(p, ' \t\r\n'), 1) = '{{', false) AS ok FROM messages
        ), parsed AS MATERIALIZED (
            SELECT i, p, json_transform(p, '{loose}') AS r, json_type(p, [{types}]) AS k{leaves} FROM valid WHERE ok
        ), typed AS MATERIALIZED (
            SELECT *, try_cast(r AS {target}) AS t FROM parsed
        ), judged AS (
            SELECT i, {selected}, ({" OR ".join(doubts)}) AS _suspect FROM typed
        )
        SELECT judged.* EXCLUDE (i, _suspect), coalesce(_suspect, true) AS _suspect
        FROM valid LEFT JOIN judged USING (i) ORDER BY i
    """


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _loose(data_type: DataType) -> object:
    """The widest type that keeps what a value was, so that the cast to the contract's type can be checked."""
    match data_type.kind:
        case "list":
            assert data_type.element is not None
            return [_loose(data_type.element)]
        case "struct":
            return {field.name: _loose(field.type) for field in data_type.fields}
        case "integer":
            return "BIGINT"
        case "number" | "decimal":
            return "DOUBLE"
        case "boolean":
            return "BOOLEAN"
        case _:
            return "VARCHAR"


def _leaves(data_type: DataType, path: str) -> Iterator[tuple[str, DataType]]:
    """JSON paths and types of everything inside a nested column; paths inside lists answer with a list of types."""
    if data_type.kind == "list":
        assert data_type.element is not None
        yield f"{path}[*]", data_type.element
        yield from _leaves(data_type.element, f"{path}[*]")
    for field in data_type.fields:
        yield f'{path}."{field.name}"', field.type
        yield from _leaves(field.type, f'{path}."{field.name}"')


def _value_doubts(column: Column) -> Iterator[str]:
    name, kind = f'"{column.name}"', column.type.kind
    if kind in ("timestamp", "date"):
        pattern = exact.TIMESTAMP_PATTERN if kind == "timestamp" else r"\d{4}-\d\d-\d\d"
        yield f"(r.{name} IS NOT NULL AND NOT regexp_full_match(r.{name}, '{pattern}'))"
        # DuckDB's calendar is longer than Python's.
        last = "9999-12-31 23:59:59.999999+00" if kind == "timestamp" else "9999-12-31"
        yield f"t.{name} NOT BETWEEN '0001-01-01'::{duckdb_type(column.type)} AND '{last}'::{duckdb_type(column.type)}"
    elif kind == "decimal":
        yield f"(t.{name}::DOUBLE IS DISTINCT FROM r.{name})"
        # Written with an exponent, few digits make a long amount.
        yield f"abs(r.{name}) >= 1e{max(15 - column.type.scale, 0)}"
    elif kind in ("list", "struct"):
        yield f"(try_cast(t.{name} AS {_loose_sql(column.type)}) IS DISTINCT FROM r.{name})"


def _loose_sql(data_type: DataType) -> str:
    match data_type.kind:
        case "list":
            assert data_type.element is not None
            return f"{_loose_sql(data_type.element)}[]"
        case "struct":
            return "STRUCT(" + ", ".join(f'"{field.name}" {_loose_sql(field.type)}' for field in data_type.fields) + ")"
        case _:
            return str(_loose(data_type))
