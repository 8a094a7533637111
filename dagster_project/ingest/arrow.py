"""Arrow arrays from spans of bytes."""

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
