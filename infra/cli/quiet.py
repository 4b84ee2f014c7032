"""Commands say what they have to say themselves: of the plumbing's log lines only errors are shown."""

from __future__ import annotations

import logging
import sys

import structlog


def only_errors_are_logged() -> None:
    """Errors go to standard error; reconnects and the like are a service's concern, not a command's."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
