"""Importing this loads the compiled kernels, and compiles them if that was not done before, which takes some seconds.

For the process that runs are forked off, which share it then, and for set-up. Imports nothing that starts a thread.
"""

import os

# Threads do not survive a fork, and nothing here needs linear algebra.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from dagster_project.ingest import avro_scanner, scanner, unpack
from dagster_project.ingest.layout import layout_of

# Of no text at all; the types are those of `Decoder`, whose arrays of texts are Arrow's and cannot be written to.
_CONTENT, _OFFSETS = np.frombuffer(b"", np.uint8), np.frombuffer(bytes(8), np.int64)
_NUMBERS, _SIZES = np.zeros(2, np.int64), np.zeros(2, np.int32)
_SLOTS = scanner.Slots(base=_NUMBERS, value=_NUMBERS, size=_SIZES, used=np.zeros(1, np.int64))
_MEMBERS = scanner.Members(row=_NUMBERS, start=_NUMBERS, size=_SIZES, used=_NUMBERS)
scanner.scan(_CONTENT, _OFFSETS, layout_of(()), _SLOTS, _MEMBERS, np.zeros(0, np.bool_))
scanner.views(_CONTENT, _NUMBERS[:0], _SIZES[:0])
_MARKS = np.zeros(0, np.bool_)
_PROGRAM = avro_scanner.Program(*[_NUMBERS[:1]] * len(avro_scanner.Program._fields))
avro_scanner.scan(_CONTENT, _OFFSETS, layout_of(()), _PROGRAM, _SLOTS, _MARKS, _MARKS)

_BODIES = unpack.Bodies(
    at=np.zeros(1, np.int64), records=_NUMBERS[:0], base=_NUMBERS[:0], time=_NUMBERS[:0], appended=_NUMBERS[:0]
)
_FOUND = unpack.Records(
    offset=_NUMBERS,
    time=_NUMBERS,
    key_at=_NUMBERS,
    key=_SIZES,
    value_at=_NUMBERS,
    value=_SIZES,
    headers_at=_NUMBERS,
    headers=_NUMBERS,
)
unpack.records(_CONTENT, _BODIES, 0, _FOUND)
unpack.headers(
    _CONTENT, _FOUND, unpack.Headers(key_at=_NUMBERS, key=_SIZES, value_at=_NUMBERS, value=_SIZES, correlation=_NUMBERS)
)
