"""Recorded spans for tests: the real tracer, with an exporter in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry


class Spans:
    """Inside this block spans are recorded at `ratio`; read them at any time."""

    def __init__(self, ratio: float = 1.0) -> None:
        self._ratio = ratio
        self._exporter = InMemorySpanExporter()
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._stop = telemetry.start(SimpleSpanProcessor(self._exporter), "test", self._ratio)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def finished(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in that order."""
        return self._exporter.get_finished_spans()

    @property
    def trace_ids(self) -> set[str]:
        """The traces that they belong to."""
        return {f"{span.context.trace_id:032x}" for span in self.finished if span.context}
