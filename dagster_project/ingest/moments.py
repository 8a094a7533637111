"""Timestamps and dates from text: by arithmetic where they are written as most producers write them, else by DuckDB."""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from dagster_project.contract.dtypes import duckdb_type, polars_type
from dagster_project.contract.model import DataType
from dagster_project.ingest import exact

# RFC 3339 in UTC with up to six decimals; a fraction may be missing.
_TEMPLATE = b"0000-00-00T00:00:00.000000Z"
_SECONDS = len("0000-00-00T00:00:00")
_DAYS = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
# DuckDB's calendar is longer than Python's.
_LAST = {"timestamp": "9999-12-31 23:59:59.999999+00", "date": "9999-12-31"}


def moments(text: pl.Series, data_type: DataType, *, connection: duckdb.DuckDBPyConnection) -> pl.Series:
    """Moments of a timestamp or date column; null where the text is none that `exact` would take.

    Args:
        connection: set to UTC.
    """
    if data_type.kind == "date":
        return _by_duckdb(text, data_type, connection)
    answer = np.zeros(len(text), np.int64)
    known = np.zeros(len(text), np.bool_)
    array = text.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    for length in np.unique(lengths):
        # "…:00Z", or with a point and one to six digits.
        if length == _SECONDS + 1 or _SECONDS + 3 <= length <= len(_TEMPLATE):
            rows = np.flatnonzero(lengths == length)
            answer[rows], known[rows] = _rfc3339(content[offsets[rows][:, None] + np.arange(length)])
    found = pl.Series(answer).cast(polars_type(data_type))
    found = pl.select(pl.when(pl.Series(known)).then(found)).to_series()
    rest = np.flatnonzero(~known & text.is_not_null().to_numpy())
    return found.scatter(rest, _by_duckdb(text.gather(rest), data_type, connection)) if rest.size else found


def _rfc3339(characters: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Microseconds since the epoch, and whether the text is a moment; one row a text, all of one length."""
    template = np.frombuffer(_TEMPLATE[: characters.shape[1] - 1] + b"Z", np.uint8)
    isdigit = template == ord("0")
    digits = characters - np.uint8(ord("0"))  # what is below wraps around to above nine
    valid = (digits[:, isdigit] <= 9).all(axis=1) & (characters[:, ~isdigit] == template[~isdigit]).all(axis=1)  # noqa: PLR2004

    def number(first: int, end: int) -> npt.NDArray[np.int64]:
        value = np.zeros(len(digits), np.int64)
        for place in range(first, end):
            value = value * 10 + digits[:, place]
        return value

    year, month, day = number(0, 4), number(5, 7), number(8, 10)
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    decimals = max(characters.shape[1] - _SECONDS - 2, 0)
    fraction = number(_SECONDS + 1, _SECONDS + 1 + decimals) * 10 ** (6 - decimals)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    valid &= (year > 0) & (month > 0) & (month <= 12) & (day > 0)  # noqa: PLR2004 months
    longest = _DAYS[np.clip(month, 1, 12) - 1] - ((month == 2) & ~leap)  # noqa: PLR2004 February
    valid &= (day <= longest) & (hour < 24) & (minute < 60) & (second < 60)  # noqa: PLR2004 the clock
    seconds = (hour * 60 + minute) * 60 + second
    return (_days(year, month, day) * 86_400 + seconds) * 1_000_000 + fraction, valid


def _days(
    year: npt.NDArray[np.int64], month: npt.NDArray[np.int64], day: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Days since 1970-01-01 in the Gregorian calendar, with years that begin in March so that leap days come last."""
    year = year - (month <= 2)  # noqa: PLR2004 January and February belong to the year before
    before = year * 365 + year // 4 - year // 100 + year // 400
    return before + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719_468


def _by_duckdb(text: pl.Series, data_type: DataType, connection: duckdb.DuckDBPyConnection) -> pl.Series:
    pattern = exact.TIMESTAMP_PATTERN if data_type.kind == "timestamp" else r"\d{4}-\d\d-\d\d"
    target = duckdb_type(data_type)
    connection.register("texts", pl.DataFrame({"text": text}).to_arrow())
    answer = connection.sql(f"""
        SELECT CASE WHEN moment BETWEEN '0001-01-01'::{target} AND '{_LAST[data_type.kind]}'::{target} THEN moment END
        FROM (SELECT CASE WHEN regexp_full_match(text, '{pattern}') THEN try_cast(text AS {target}) END AS moment FROM texts)
    """).to_arrow_table()
    return pl.Series(answer[0]).cast(polars_type(data_type))
