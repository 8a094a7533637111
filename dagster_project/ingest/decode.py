"""Decoding a batch of JSON payloads by column, and naming what is wrong with those that do not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Column, DataType
from dagster_project.ingest import exact
from dagster_project.ingest.doubts import doubtful
from dagster_project.ingest.extent import ArrowArray, Marks, extent, flags, list_lengths, run_sums
from dagster_project.ingest.scalars import json_type, read

ERROR = "_error"


class Decoder:
    """Decodes payloads of one contract.

    DuckDB takes all of them apart at once, and polars reads the values. A row counts where nothing is in doubt; the
    others, few in any healthy stream, go through `exact.decode`, which also names the reason where a payload is poison.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._schema = polars_schema(columns)
        shape = json.dumps({column.name: json_type(column.type) for column in columns}).replace("'", "''")
        self._query = f"SELECT CASE WHEN json_valid(p) THEN json_transform(p, '{shape}') END FROM payloads"
        self._connection = duckdb.connect(config={"threads": 2})  # the machine's cores; polars has its own pool
        self._connection.execute("SET TimeZone = 'UTC'")

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        """Decode a Binary series without nulls.

        Returns:
            One row a payload, in order: the contract's columns (all null where the payload is poison) and `_error`.
        """
        texts = _utf8(payloads)
        self._connection.register("payloads", pl.DataFrame({"p": texts}).to_arrow())
        raw = self._connection.sql(self._query).to_arrow_table()[0].combine_chunks()
        assert len(raw) == len(payloads), "the decoder must answer for every payload"
        values, suspects = self._objects(raw, self._columns)
        suspects |= flags(raw.is_null())
        sound = np.flatnonzero(~suspects)
        known = extent(raw, self._columns)
        known = known._replace(lengths=known.lengths[sound], doubts=known.doubts[sound])
        suspects[sound] = doubtful(texts.gather(sound), known, self._columns, connection=self._connection)
        frame = pl.DataFrame(values).with_columns(pl.lit(None, pl.String).alias(ERROR))
        return self._replace(frame, np.flatnonzero(suspects), payloads) if suspects.any() else frame

    def _objects(self, raw: ArrowArray, columns: Sequence[Column]) -> tuple[dict[str, pl.Series], Marks]:
        """The columns' values, and the objects of which one is in doubt."""
        suspects = np.zeros(len(raw), np.bool_)
        values: dict[str, pl.Series] = {}
        for column, child in zip(columns, raw.flatten(), strict=True):
            values[column.name], doubts = self._values(child, column.type)
            suspects |= doubts
        return values, suspects

    def _values(self, raw: ArrowArray, data_type: DataType) -> tuple[pl.Series, Marks]:
        match data_type.kind:
            case "struct":
                fields, doubts = self._objects(raw, data_type.fields)
                arrays = [field.to_arrow() for field in fields.values()]
                return pl.Series(pa.StructArray.from_arrays(arrays, list(fields), mask=raw.is_null())), doubts
            case "list":
                assert data_type.element is not None
                elements, doubts = self._values(raw.flatten(), data_type.element)
                counts = list_lengths(raw)
                offsets = pa.array(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))
                lists = pa.LargeListArray.from_arrays(offsets, elements.to_arrow(), mask=raw.is_null())
                return pl.Series(lists), run_sums(doubts, counts) > 0
            case _:
                values, doubts = read(pl.Series(raw), data_type, connection=self._connection)
                return values, doubts.to_numpy()

    def _replace(self, frame: pl.DataFrame, suspects: npt.NDArray[np.int64], payloads: pl.Series) -> pl.DataFrame:
        rows: list[dict[str, object]] = []
        for payload in payloads.gather(suspects):
            try:
                rows.append({**exact.decode(payload, self._columns), ERROR: None})
            except exact.Rejected as reason:
                rows.append({ERROR: str(reason)})
        exactly = pl.DataFrame(rows, schema={**self._schema, ERROR: pl.String})
        # Each row from where it is known: those decoded exactly stand behind all others.
        order = np.arange(len(frame), dtype=np.uint32)
        order[suspects] = len(frame) + np.arange(len(suspects), dtype=np.uint32)
        return pl.concat([frame, exactly], rechunk=True)[order]


def _utf8(payloads: pl.Series) -> pl.Series:
    """Payloads as text; those that are not UTF-8 become empty, which is no JSON."""
    try:
        return payloads.cast(pl.String)
    except pl.exceptions.PolarsError:
        # Which of them it was is found by halves: bad ones are few.
        if len(payloads) == 1:
            return pl.Series([""], dtype=pl.String)
        middle = len(payloads) // 2
        return pl.concat([_utf8(payloads[:middle]), _utf8(payloads[middle:])])
