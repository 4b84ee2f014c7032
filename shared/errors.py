"""The one tree of operating errors: a code, a sentence that says what to do, whether a retry helps.

Codes are stable and documented in the README; texts are free to change (P11). Bugs are not in this
tree: they assert.
"""

from __future__ import annotations

from typing import ClassVar


class ParleyError(Exception):
    """An operating error; `retry_after_ms` is advice for the caller, `limit` names the bound that was hit."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, retry_after_ms: int | None = None, limit: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.limit = limit


class BadFrame(ParleyError):
    """The frame is not one JSON object; the message gives the position."""

    code = "bad_frame"
    http_status = 400


class BadRequest(ParleyError):
    """A field is missing or has the wrong type or value; the message names the field."""

    code = "bad_request"
    http_status = 400


class BadQuery(ParleyError):
    """The search query cannot be read: `offset` and `length` say where, in characters."""

    code = "bad_query"
    http_status = 400

    def __init__(self, message: str, *, offset: int = 0, length: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        self.length = length


class UnknownType(ParleyError):
    """The frame's `type` is not in this version of the protocol (P1); the session goes on."""

    code = "unknown_type"
    http_status = 400


class InvalidId(ParleyError):
    """An id does not have the form that the protocol prescribes for it."""

    code = "invalid_id"
    http_status = 400


class InvalidText(ParleyError):
    """Text holds a NUL or a lone surrogate; the message gives the position."""

    code = "invalid_text"
    http_status = 400


class TooLarge(ParleyError):
    """The text is longer than `welcome.limits` allows (P3)."""

    code = "too_large"
    http_status = 413


class HeadTooLarge(ParleyError):
    """The request line and headers are longer than the edge reads."""

    code = "head_too_large"
    http_status = 431


class TooSlow(ParleyError):
    """The request did not arrive in time."""

    code = "too_slow"
    http_status = 408


class UpgradeRequired(ParleyError):
    """This address speaks WebSocket only, in version 13."""

    code = "upgrade_required"
    http_status = 426


class Unauthorized(ParleyError):
    """The token is missing, malformed, expired, or signed by nobody whom we trust."""

    code = "unauthorized"
    http_status = 401


class Forbidden(ParleyError):
    """The channel's state does not allow this author to do this (P14)."""

    code = "forbidden"
    http_status = 403


class QueryLimit(ParleyError):
    """The query needs more than it may have; `limit` names the bound: memory, cpu, time, output."""

    code = "query_limit"
    http_status = 422


class NotFound(ParleyError):
    """No such thing, or none that the caller may know of (P21)."""

    code = "not_found"
    http_status = 404


class Conflict(ParleyError):
    """The id is already recorded with another body (P12), or the channel id is taken.

    `seq`: where the id is recorded, if it is and its place is known.
    """

    code = "conflict"
    http_status = 409

    def __init__(self, message: str, *, seq: int | None = None, limit: str | None = None) -> None:
        super().__init__(message, limit=limit)
        self.seq = seq


class ClockSkew(ParleyError):
    """The id claims a time too far in the future; stamp ids from server time."""

    code = "clock_skew"
    http_status = 400


class RateLimited(ParleyError):
    """A token bucket is empty: `limit` names it, `retry_after_ms` says when to come back (P18)."""

    code = "rate_limited"
    retryable = True
    http_status = 429


class Unavailable(ParleyError):
    """JetStream or the archive cannot be reached now; nothing was recorded; retry under the same id."""

    code = "unavailable"
    retryable = True
    http_status = 503


class OutcomeUnknown(ParleyError):
    """No answer in time: the event may be recorded or not; retry under the same id and nothing doubles."""

    code = "unknown"
    retryable = True
    http_status = 503


class WrongLastSequence(ParleyError):
    """JetStream refused: the subject's last sequence is not the expected one. Never leaves the servers.

    `retried`: an earlier try of the same commit may be what stands there.
    """

    code = "wrong_last_sequence"

    def __init__(self, message: str, *, retried: bool = False) -> None:
        super().__init__(message)
        self.retried = retried


class LogRegressed(ParleyError):
    """The log has lost events that we had seen: cursors into it mean nothing any more (new epoch)."""

    code = "log_regressed"


class Misconfigured(ParleyError):
    """A setting contradicts what the system was first started with; the message says which."""

    code = "misconfigured"
