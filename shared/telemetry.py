"""Traces across NATS: one trace from a command to its delivery, carried in the `traceparent` header.

A trace begins where a command enters, by a sampling decision made there; everything downstream records
only what was sampled. So an unsampled message carries no header, costs nothing, and starts no trace
later. There is a span per edge that delivers, never one per recipient.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
)
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import INVALID_SPAN, NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import Misconfigured
from shared.settings import CommonSettings

TRACEPARENT = "traceparent"

_OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_SAMPLED = tuple("13579bdf")
"""The lowest bit of the flags, which end a traceparent; other bits may be set beside it."""

_UNRECORDED = contextlib.nullcontext(INVALID_SPAN)
_propagator = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | int | float | bool]


class _Exporters(Protocol):
    OTLPSpanExporter: Callable[[], SpanExporter]


class _Tracing:
    """What `configure` decided for this process."""

    tracer: Tracer = NoOpTracer()


def configure(settings: CommonSettings, service: str) -> Callable[[], None]:
    """Choose the exporter once per process; returns what flushes it at the end."""
    processor = _processor(settings)
    return start(processor, service, settings.trace_ratio) if processor else lambda: None


def start(processor: SpanProcessor, service: str, ratio: float) -> Callable[[], None]:
    """Send spans to `processor` from now on; returns what flushes and stops it."""
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(ratio),
        resource=Resource.create({"service.name": f"parley-{service}"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    _Tracing.tracer = provider.get_tracer("parley")

    def stop() -> None:
        _Tracing.tracer = NoOpTracer()
        provider.shutdown()

    return stop


def root_span(name: str, attributes: Attributes | None = None) -> contextlib.AbstractContextManager[Span]:
    """The first span of a trace: a command enters here, and the dice are thrown."""
    if isinstance(_Tracing.tracer, NoOpTracer):
        return _UNRECORDED
    return _recorded(name, SpanKind.SERVER, {}, attributes)


def span(
    name: str,
    parent: Mapping[str, str] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
) -> contextlib.AbstractContextManager[Span]:
    """A span below the one in a message's headers (`parent`), or below the current one.

    Without a sampled parent nothing is recorded, and nothing is spent.
    """
    sampled = _is_sampled(parent) if parent is not None else _current_is_sampled()
    return _recorded(name, kind, parent, attributes) if sampled else _UNRECORDED


def begin(name: str) -> Span:
    """`root_span` for work that is no block: whoever ends the work calls `end`. Not the current span."""
    if isinstance(_Tracing.tracer, NoOpTracer):
        return INVALID_SPAN
    return _Tracing.tracer.start_span(name, Context(), kind=SpanKind.SERVER)


def end(span: Span, error: Exception | None = None) -> None:
    """The work of a span from `begin` is over."""
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    span.end()


def headers(span: Span | None = None) -> dict[str, str]:
    """A trace as the headers of a message, by default the current one; empty if it is not sampled."""
    carried: dict[str, str] = {}
    if span is INVALID_SPAN:
        return carried
    if span is None:
        inject(carried)
    elif span.get_span_context().trace_flags.sampled:
        _propagator.inject(carried, trace.set_span_in_context(span))
    return carried


def inject(headers: dict[str, str]) -> None:
    """Put the current trace into the headers of a message, if it is sampled."""
    if _current_is_sampled():
        _propagator.inject(headers)


@contextlib.contextmanager
def _recorded(
    name: str, kind: SpanKind, parent: Mapping[str, str] | None, attributes: Attributes | None
) -> Iterator[Span]:
    context = None if parent is None else _propagator.extract(parent, context=Context())
    with _Tracing.tracer.start_as_current_span(
        name, context, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _is_sampled(headers: Mapping[str, str]) -> bool:
    return headers.get(TRACEPARENT, "").endswith(_SAMPLED)


def _current_is_sampled() -> bool:
    return trace.get_current_span().get_span_context().trace_flags.sampled


def _processor(settings: CommonSettings) -> SpanProcessor | None:
    if settings.trace_exporter == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr))
    if settings.trace_exporter == "otlp":
        try:
            exporters: _Exporters = importlib.import_module(_OTLP)
        except ModuleNotFoundError as error:
            raise Misconfigured(
                "PARLEY_TRACE_EXPORTER=otlp needs the package opentelemetry-exporter-otlp-proto-http"
            ) from error
        return BatchSpanProcessor(exporters.OTLPSpanExporter())
    return None
