"""What Dagster Pipes says of a Spark job, wherever it ran."""

from __future__ import annotations

from typing import Any

import dagster as dg

from dagster_project.errors import EngineError
from dagster_project.spark.order import Order


def told(invocation: dg.PipesClientCompletedInvocation) -> dict[str, Any]:
    """What the service says of a job, and the job of itself."""
    own = {name: value for message in invocation.get_custom_messages() for name, value in message.items()}
    return {**invocation.metadata, **own}


def failed(order: Order, error: Exception, where: str) -> EngineError:
    """The error of a run whose job has ended without a result."""
    return EngineError(
        f"the Spark job of {order.name} has failed: {error}",
        expected="a job that ends with a manifest; nothing was committed",
        remedy=f"look at the job's own log, above or at {where}; the next run starts anew",
    )
