"""Batches and messages that were made to fill memory or take all time, each as large as one may be."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import LARGEST_BYTES, Dataset
from dagster_project.ingest.bronze import place
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.fetch import Fetched
from dagster_project.ingest.records import Opened, opened
from dagster_project.topics.feed import Portion
from tests.batches import GZIP, LZ4, ZSTD, packed
from tests.hostile import CONTRACT
from tests.unit.lakes import write_project

_PIECE = 1 << 20
_ROOM = LARGEST_BYTES - 1_000
# By name, how a message begins, what is in it as often as there is room for, and how it ends.
MESSAGES: Mapping[str, tuple[bytes, bytes, bytes]] = {
    "arrays side by side": (b"", b"[]", b""),
    "arrays in arrays": (b'{"more":', b"[", b""),
    "objects in objects": (b'{"more":', b'{"a":', b""),
    "unknown fields": (b"{", b'"":0,', b'"a":1}'),
    "one field again and again": (b"{", b'"id":1,', b'"id":2}'),
    "unknown objects, and a number that is none": (b'{"more":[', b"{},", b'0],"ratio":1e999}'),
    "unknown numbers, and a number that is none": (b'{"more":[', b"1.5,", b'0],"ratio":1e999}'),
    "digits": (b'{"ratio":', b"1", b"}"),
    "digits behind the point": (b'{"amount":0.', b"1", b"}"),
    "digits in a text": (b'{"amount":"0.', b"0", b'1"}'),
    "an exponent": (b'{"level":1e', b"9", b"}"),
    "elements": (b'{"tags":[', b'"",', b'""]}'),
    "elements, and a number that is none": (b'{"ratio":1e999,"tags":[', b'"",', b'""]}'),
    "elements of an object": (b'{"place":{"floors":[', b"1,", b"1]}}"),
    "a text of escapes": (b'{"text":"', b"\\u0000", b'"}'),
    "backslashes, and brackets": (b'{"more":"', b"\\\\", b'"' + b',"a":[]' * 100 + b"}"),
    "bytes that are no text": (b'{"text":"', b"\xff", b'"}'),
    "more than one may have": (b'{"text":"' + b"x" * LARGEST_BYTES, b"x", b'"}'),
}


def dataset() -> Dataset:
    with TemporaryDirectory() as folder:
        return load_catalog(write_project(Path(folder), {"probes.odcs.yaml": CONTRACT})).datasets[0]


def message(name: str) -> bytes:
    begin, inside, end = MESSAGES[name]
    return begin + inside * (max(_ROOM - len(begin) - len(end), len(inside)) // len(inside)) + end


def number(value: int) -> bytes:
    """As the format of records writes it: zigzag, seven bits a byte."""
    value = (value << 1) ^ (value >> 63)
    content = b""
    while value > 0x7F:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def zeros(deltas: list[int], value: int) -> Iterator[bytes]:
    """Records whose values are so many zero bytes."""
    for delta in deltas:
        head = b"\0" + number(0) + number(delta) + number(-1) + number(value)
        yield number(len(head) + value + 1) + head
        for _ in range(value // _PIECE):
            yield bytes(_PIECE)
        yield bytes(value % _PIECE) + b"\0"


def tiny(count: int) -> Iterator[bytes]:
    """Records without key, value and headers, all of one offset."""
    record = b"\0" + number(0) + number(0) + number(-1) + number(-1) + b"\0"
    yield (number(len(record)) + record) * count


def headers(count: int) -> Iterator[bytes]:
    """A record with so many headers without name and value."""
    head = b"\0" + number(0) + number(0) + number(-1) + number(-1) + number(count)
    yield number(len(head) + 2 * count) + head + (number(0) + number(-1)) * count


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "gzip": lambda: packed(2, zeros([0, 1], 70 << 20), codec=GZIP),
    "lz4": lambda: packed(2, zeros([0, 1], 70 << 20), codec=LZ4),
    "zstd": lambda: packed(3, zeros([0, 1, 2], 200 << 20), codec=ZSTD),
    "tiny records": lambda: packed(1_300_000, tiny(1_300_000), codec=ZSTD),
    "headers": lambda: packed(1, headers(10_000_000), codec=ZSTD),
}


def open_(*contents: bytes, following: int = 0) -> Opened:
    return opened(Portion(partition=0, content=b"".join(contents), aborted=(), end=0), topic="t", following=following)


def placed(found: Opened, own: Dataset) -> pl.DataFrame:
    return place(own, Fetched(messages=found.messages, next={0: found.next}, caught_up=True), Decoder(own.columns))


def _works(own: Dataset) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Each thing by name, its bytes as they come from a broker, and the work that is done on it."""
    for name, bomb in BOMBS.items():
        content = bomb()
        yield f"batch: {name}", len(content), partial(open_, content)
    many = b"".join(packed(1, zeros([0], 120 << 20), codec=ZSTD, base=base) for base in range(5))
    yield "batches: five that are large", len(many), partial(open_, many)
    for name in MESSAGES:
        content = message(name)
        decoder = Decoder(own.columns)
        yield f"message: {name}", len(content), partial(decoder.decode, pl.Series([content], dtype=pl.Binary))


def main() -> None:
    """Do all of it in this process; print what each takes, and in the end the memory of all, a JSON object a line."""
    own = dataset()
    Decoder(own.columns).decode(pl.Series([b'{"id":"a","tags":["b"]}'], dtype=pl.Binary))
    open_(packed(1, tiny(1), codec=ZSTD))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, size, work in _works(own):
        began = time.process_time()
        work()
        spent = time.process_time() - began
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        line = {"what": name, "bytes": size, "cpu_s": round(spent, 2), "most_mib_so_far": most >> 10}
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
