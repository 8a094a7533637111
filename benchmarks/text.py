"""Text of many rows at once: identities, moments and money, each a fraction of a microsecond."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_HEX = np.array([list(b"%02x" % byte) for byte in range(256)], np.uint8)
_TWO = np.array([list(b"%02d" % number) for number in range(100)], np.uint8)
_THREE = np.array([list(b"%03d" % number) for number in range(1000)], np.uint8)
# Where the digits of a UUID's bytes go: four dashes are between them.
_UUID_DIGITS = [place for place in range(36) if place not in {8, 13, 18, 23}]
_MOMENT = np.frombuffer(b"0000-00-00T00:00:00.000Z", np.uint8)
_CENTS = pl.Series([f".{cents:02d}" for cents in range(100)])


def uuids(rng: np.random.Generator, count: int) -> pl.Series:
    """Random UUIDs of version 4."""
    raw = rng.integers(0, 256, (count, 16), np.uint8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    text = np.full((count, 36), ord("-"), np.uint8)
    text[:, _UUID_DIGITS] = _HEX[raw].reshape(count, 32)
    return _fixed(text)


def moments(since_epoch_ms: NDArray[np.int64]) -> pl.Series:
    """RFC 3339 in UTC, to the millisecond."""
    if not len(since_epoch_ms):
        return pl.Series(dtype=pl.String)
    days, rest = np.divmod(since_epoch_ms, DAY_MS)
    first = int(days.min())
    calendar = np.arange(first, int(days.max()) + 1).astype("datetime64[D]")
    dates = np.datetime_as_string(calendar).astype("S10").view(np.uint8).reshape(-1, 10)
    hours, rest = np.divmod(rest, HOUR_MS)
    minutes, rest = np.divmod(rest, MINUTE_MS)
    seconds, millis = np.divmod(rest, SECOND_MS)
    text = np.tile(_MOMENT, (len(days), 1))
    text[:, :10] = dates[days - first]
    text[:, 11:13], text[:, 14:16], text[:, 17:19] = _TWO[hours], _TWO[minutes], _TWO[seconds]
    text[:, 20:23] = _THREE[millis]
    return _fixed(text)


def money(cents: NDArray[np.int64]) -> pl.Series:
    """Amounts with two decimals."""
    parts = pl.DataFrame({"whole": cents // 100, "part": _CENTS.gather(cents % 100)})
    return parts.select(pl.concat_str("whole", "part").alias("money"))["money"]


def _fixed(text: NDArray[np.uint8]) -> pl.Series:
    """ASCII of one width, a row each, as strings."""
    count, width = text.shape
    ends = np.arange(count + 1, dtype=np.int64) * width
    array = pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(text.reshape(-1)))
    return pl.Series(array, dtype=pl.String)
