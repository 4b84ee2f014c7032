"""The codes of errors and of closes, as tables."""

from __future__ import annotations

from edge.api.schemas import Json
from edge.core.wire_errors import CLOSE_CODES
from shared import errors

NEVER_SENT = frozenset({errors.WrongLastSequence, errors.LogRegressed, errors.Misconfigured})
"""Errors of the tree that stay inside: no client hears them."""

_FAULT = (
    "A fault of the server, which logs it; whether the command was recorded shows a retry under the same id."
)


def close_codes() -> list[Json]:
    """One row per close code (P10)."""
    return [
        {"code": row.code, "reason": row.name, "resumable": row.resumable, "meaning": row.meaning}
        for row in CLOSE_CODES
    ]


def error_codes() -> list[Json]:
    """One row per error code that a client may see (P11)."""
    kinds: list[type[errors.ParleyError]] = [errors.ParleyError, *errors.ParleyError.__subclasses__()]
    return [
        {
            "code": kind.code,
            "status": kind.http_status,
            "retryable": kind.retryable,
            "meaning": _FAULT if kind is errors.ParleyError else " ".join((kind.__doc__ or "").split()),
        }
        for kind in kinds
        if kind.__module__ == errors.__name__ and kind not in NEVER_SENT
    ]
