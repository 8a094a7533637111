"""Spans of OpenTelemetry around the steps of a batch: a stopwatch, unless `OTEL_EXPORTER_OTLP_ENDPOINT` says who wants them.

OpenTelemetry is imported only then. Spans are sent beside the work, and what cannot be sent is given up and logged: no run
fails, or waits for longer than a few seconds, because of whoever watches it.
"""

from __future__ import annotations

import functools
import logging
import os
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Span

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# W3C's name of a trace context, in headers and in the commits of tables.
TRACEPARENT = "traceparent"
Value = str | int | float | Sequence[str]
_LOGGER = logging.getLogger(__name__)
# The end of a run waits for one request or two to a collector that does not answer.
_TIMEOUT_S = 2.0
# The trace that spans without a parent belong to; 0 for one of their own.
_TRACE: ContextVar[int] = ContextVar("trace", default=0)


class Step:
    """A step of the work.

    Attributes:
        seconds: how long it took; 0 while it goes on.
    """

    def __init__(self, span: Span | None) -> None:
        self.seconds = 0.0
        self._span = span

    def note(self, **attributes: Value | None) -> None:
        """Add what is known only now; `None` is not said."""
        if self._span is not None:
            self._span.set_attributes({_full(name): value for name, value in attributes.items() if value is not None})


@contextmanager
def span(name: str, *, follows: Iterable[str] = (), **attributes: Value) -> Generator[Step]:
    """Time a step, and show it as a span.

    Args:
        name: such as `ingest.fetch`.
        follows: trace contexts, as W3C writes them, of what led to this; others than such are passed over.
        attributes: in the span with `lakehouse.` before their names. Never values of events.
    """
    provider = _provider()
    with nullcontext() if provider is None else _recorded(provider, name, follows, attributes) as recorded:
        step = Step(recorded)
        began = time.perf_counter()
        try:
            yield step
        finally:
            step.seconds = time.perf_counter() - began


@contextmanager
def trace_of(run_id: str) -> Generator[None]:
    """Within it, spans without a parent have the run's id as their trace id: both are numbers of 128 bits."""
    try:
        token = _TRACE.set(uuid.UUID(run_id).int)
    except ValueError:
        token = _TRACE.set(0)
    try:
        yield
    finally:
        _TRACE.reset(token)


def traceparent() -> str:
    """The span that this is part of, as W3C writes it in headers; empty where there is none."""
    if _provider() is None:
        return ""
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def flush() -> None:
    """Send what has not been sent."""
    if (provider := _provider()) is not None:
        provider.force_flush()


def _recorded(
    provider: TracerProvider, name: str, follows: Iterable[str], attributes: dict[str, Value]
) -> AbstractContextManager[Span]:
    named = {_full(attribute): value for attribute, value in attributes.items()}
    links = [link for text in follows if (link := _link(text)) is not None]
    return provider.get_tracer("lakehouse").start_as_current_span(name, attributes=named, links=links)


def _full(attribute: str) -> str:
    return f"lakehouse.{attribute}"


def _link(text: str) -> Link | None:
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = get_current_span(TraceContextTextMapPropagator().extract({TRACEPARENT: text})).get_span_context()
    return Link(context) if context.is_valid else None


@functools.cache
def _provider() -> TracerProvider | None:
    """What records and sends spans; of a process that runs are forked off nobody asks this."""
    if not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError as error:
        _LOGGER.warning(
            "%s is set, but spans cannot be sent: %s; install dagster-lakehouse[telemetry]", ENDPOINT, error
        )
        return None

    class _Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _TRACE.get() or super().generate_trace_id()

    name = os.environ.get("OTEL_SERVICE_NAME") or "lakehouse"
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), id_generator=_Ids())
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _TIMEOUT_S
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    return provider
