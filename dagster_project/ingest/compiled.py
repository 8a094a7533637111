"""How kernels are compiled: by numba, or not at all with `NUMBA_DISABLE_JIT=1`, with the same outcome.

A kernel and all that it calls are in one module: numba keeps what it compiled until that file changes, and looks at no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.int32]
Marks = npt.NDArray[np.bool_]

_Function = TypeVar("_Function", bound=Callable[..., object])


def kernel(function: _Function) -> _Function:
    """Compile a function that Python calls; other threads go on while it works."""
    compiled: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


def inner(function: _Function) -> _Function:
    """Compile a function that only kernels call, as part of them: it needs no way in from Python."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return compiled
