"""Structured logs: one event a line, named `noun.past_verb`, with fields instead of prose.

They go to standard error, so that a command's output stays its own. What libraries log through the
standard module appears in the same form as `library.logged`, warnings and errors only.
"""

from __future__ import annotations

import logging
import os
import sys

import orjson
import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.settings import CommonSettings

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(settings: CommonSettings, service: str) -> None:
    """Decide once per process how lines look; every line names `service` and its process id."""
    structlog.configure(
        processors=processors(settings, service),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)


def processors(settings: CommonSettings, service: str) -> list[Processor]:
    """The steps from an event's fields to its line."""
    origin = {"service": service, "pid": os.getpid()}

    def add_origin(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**origin, **event}

    return [
        structlog.contextvars.merge_contextvars,
        add_origin,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _add_trace,
        *_renderers(settings),
    ]


def _renderers(settings: CommonSettings) -> list[Processor]:
    if settings.log_format == "console":
        return [structlog.dev.ConsoleRenderer(timestamp_key="at", colors=sys.stderr.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]


def _dumps(event: EventDict, **_: object) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _add_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace"] = f"{context.trace_id:032x}"
    return event


class _Libraries(logging.Handler):
    """Takes what libraries log into the same stream of lines."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.logged",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info or False,
        )
