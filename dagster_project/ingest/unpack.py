"""The fetcher's kernels: where in a record batch each record's parts are, in the format of Kafka's magic byte 2.

https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dagster_project.ingest.compiled import Bytes, Numbers, Sizes, inner, kernel

_CORRELATION = np.frombuffer(b"correlation_id", np.uint8)
_WORD = 64  # bits of the longest number
_MOST = (1 << 31) - 1  # of any size, which the format keeps in 32 bits


class Bodies(NamedTuple):
    """Record batches, decompressed and one after another.

    Attributes:
        at: where each begins; one entry more than there are batches.
        records: how many there are in each.
        base: the first offset.
        time: of the first record, ms; the others are told from there.
        appended: the time of all its records instead, or -1.
    """

    at: Numbers
    records: Numbers
    base: Numbers
    time: Numbers
    appended: Numbers


class Records(NamedTuple):
    """What there is of each record: where it begins, and its size; -1 is null.

    Attributes:
        headers_at, headers: where its headers begin, and how many there are.
    """

    offset: Numbers
    time: Numbers
    key_at: Numbers
    key: Sizes
    value_at: Numbers
    value: Sizes
    headers_at: Numbers
    headers: Numbers


class Headers(NamedTuple):
    """What there is of each header, as of records.

    Attributes:
        correlation: by record, the last header that names the correlation id, or -1.
    """

    key_at: Numbers
    key: Sizes
    value_at: Numbers
    value: Sizes
    correlation: Numbers


@kernel
def records(content: Bytes, bodies: Bodies, following: int, found: Records) -> int:
    """Find the records from an offset on; how many there are, or -1 - n where batch n is not as it should be."""
    used = 0
    for batch in range(len(bodies.records)):
        at, end = bodies.at[batch], bodies.at[batch + 1]
        for _ in range(bodies.records[batch]):
            length, at = _number(content, at, end)
            stop = at + length
            if length < 0 or stop > end:
                return -1 - batch
            later, at = _number(content, at + 1, stop)  # past the attributes, which mean nothing yet
            delta, at = _number(content, at, stop)
            key, key_at = _number(content, at, stop)
            value, value_at = _number(content, key_at + max(key, 0), stop)
            headers, at = _number(content, value_at + max(value, 0), stop)
            if at > stop or min(key, value) < -1 or max(key, value) > _MOST or not 0 <= headers <= stop - at:
                return -1 - batch
            if bodies.base[batch] + delta >= following:
                found.offset[used] = bodies.base[batch] + delta
                found.time[used] = bodies.time[batch] + later if bodies.appended[batch] < 0 else bodies.appended[batch]
                found.key_at[used], found.key[used] = key_at, key
                found.value_at[used], found.value[used] = value_at, value
                found.headers_at[used], found.headers[used] = at, headers
                used += 1
            at = stop
        if at != end:
            return -1 - batch
    return used


@kernel
def headers(content: Bytes, where: Records, found: Headers) -> int:
    """Find the headers of all records; how many there are, or -1 where they are not as they should be."""
    used = 0
    for record in range(len(where.headers)):
        at = where.headers_at[record]
        found.correlation[record] = -1
        for _ in range(where.headers[record]):
            key, key_at = _number(content, at, len(content))
            value, value_at = _number(content, key_at + max(key, 0), len(content))
            at = value_at + max(value, 0)
            if key < 0 or value < -1 or max(key, value) > _MOST or at > len(content):
                return -1
            found.key_at[used], found.key[used] = key_at, key
            found.value_at[used], found.value[used] = value_at, value
            if value > 0 and _names_correlation(content, key_at, key):
                found.correlation[record] = used
            used += 1
    return used


@inner
def _names_correlation(content: Bytes, at: int, size: int) -> bool:
    if size != len(_CORRELATION):
        return False
    for place in range(size):  # noqa: SIM110 as numba reads it
        if content[at + place] != _CORRELATION[place]:
            return False
    return True


@inner
def _number(content: Bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag number, and where the next thing begins: behind the end where it does not end before."""
    value, shift = 0, 0
    while at < end and shift < _WORD:
        byte = int(content[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 the top bit says that more follows
            return (value >> 1) & ((1 << 63) - 1) ^ -(value & 1), at
        shift += 7
    return 0, end + 1
