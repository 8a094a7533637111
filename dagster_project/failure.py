"""Failures of runs, as Dagster's UI shows them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from dagster_project.errors import EngineError, LakeError, LakehouseError


@contextmanager
def explained() -> Generator[None]:
    """Turn the platform's errors into run failures that show what was found and what to do, without a needless retry."""
    try:
        yield
    except LakehouseError as error:
        metadata = {"found": error.found, "expected": error.expected, "to_do": error.remedy}
        raise dg.Failure(
            str(error), metadata=metadata, allow_retries=isinstance(error, LakeError | EngineError)
        ) from error
