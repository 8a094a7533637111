"""One line of JSON for each batch, with all that is known of it: what one searches first when something is wrong."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from dagster_project.telemetry.run import current
from dagster_project.telemetry.sink import Sink

# A correlation id is whatever its producer made of it.
_MOST_CHARACTERS = 128


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one commit did. Never a value of an event; what does not apply to a layer is not in its lines.

    Attributes:
        layer: that was written: bronze, silver, gold, or dlq.
        table: dataset or mart, as the table is named.
        version: that the commit became; of the dead-letter queue, which is no table, none.
        batch_id: the last Bronze batch that is in it.
        first_batch_id: the first one.
        inputs: versions that a mart was computed from, by `layer/name`.
        rows_in: rows, or messages, that were read.
        rows_out: rows, or letters, that were written.
        poison: messages that could not be decoded; they are among `rows_out` of Bronze.
        quarantined: rows that broke a rule.
        late: rows behind the allowed lateness.
        held: table partitions and regions that the gate holds back.
        bytes: of the payloads, in Bronze; of the Bronze files that were read, in Silver.
        fetch_s: seconds of reading, with the wait for a batch to fill. Bronze reads beside the commit before.
        decode_s: seconds of decoding.
        compute_s: seconds of the mart's SQL, with what it reads.
        gate_s: seconds of judging; in Silver with the merge.
        commit_s: seconds of writing and committing.
        lag: offsets that the topic then had beyond the batch, as its leaders said when they were read last.
        correlation_ids: of the first and of the last message.
    """

    layer: Literal["bronze", "silver", "gold", "dlq"]
    table: str
    version: int | None = None
    batch_id: int | None = None
    first_batch_id: int | None = None
    inputs: Mapping[str, int] | None = None
    rows_in: int | None = None
    rows_out: int
    poison: int | None = None
    quarantined: int | None = None
    late: int | None = None
    held: int | None = None
    bytes: int | None = None
    fetch_s: float | None = None
    decode_s: float | None = None
    compute_s: float | None = None
    gate_s: float | None = None
    commit_s: float
    lag: int | None = None
    correlation_ids: Sequence[str] | None = None


def canonical(line: Line) -> None:
    """Tell of a batch, if this is part of a run: with `run_id`, and `cpu_s`, CPU seconds since the run's line before."""
    if (run := current()) is None:
        return
    values = {field.name: getattr(line, field.name) for field in fields(line)}
    said = {name: _short(value) for name, value in values.items() if value is not None}
    _logger(run.logs).info("batch", **said, run_id=run.id, cpu_s=round(run.spent(), 3))


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return [text[:_MOST_CHARACTERS] for text in value] if isinstance(value, list) else value


@functools.cache
def _logger(folder: Path) -> Any:
    import structlog  # only runs need it, and the first line of each

    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")
    return structlog.wrap_logger(
        Sink(folder),
        processors=[stamp, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
