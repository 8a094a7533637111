"""Arrow arrays from numpy's memory.

Not by `pa.array`, which imports pandas to see whether it was given something of its: half a second in each process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dagster_project.ingest import scanner
from dagster_project.ingest.compiled import Bytes, Marks, Numbers, Sizes

Array = Any  # pyarrow has no types


def spans(kind: Any, content: Bytes, starts: Numbers, sizes: Sizes) -> Array:
    """An array of texts or binaries, each from where it starts, and null if its size is negative. Nothing is copied.

    Args:
        kind: `pa.string_view()`, for which nobody looks whether it is UTF-8, or `pa.binary_view()`.
        content: less than 2 GiB.
    """
    buffers = [valid(sizes < 0), pa.py_buffer(scanner.views(content, starts, sizes)), pa.py_buffer(content)]
    return pa.Array.from_buffers(kind, len(starts), buffers)


def valid(null: Marks) -> Array:
    """The bits that say which values there are, or `None` where all are."""
    return pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None


def marks(values: Marks) -> Array:
    """As Arrow has booleans, a bit for each."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def ends(sizes: Numbers) -> Array:
    """Where each of some lists ends, and the first one begins."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return pa.Array.from_buffers(pa.int64(), len(offsets), [None, pa.py_buffer(offsets)])
