"""What the client raises: the server's refusals as the tree in `shared.errors`, and the end of a session."""

from __future__ import annotations

from shared import errors
from shared.client.wire import ErrorFrame
from shared.errors import ParleyError


class Refused(ParleyError):
    """The server refused with a code that this version does not know."""

    code = "refused"


class SessionEnded(ParleyError):
    """The server said not to come back without a change (P10): another token, permission or version."""

    code = "session_ended"

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(f"the server ended the session for good: {close_code} {reason}")
        self.close_code = close_code
        self.reason = reason


class ClientClosed(ParleyError):
    """The client was closed before the answer came; the command may be recorded or not."""

    code = "client_closed"


class OutboxFull(ParleyError):
    """So many commands wait already that this one was not taken."""

    code = "outbox_full"
    retryable = True


_BY_CODE: dict[str, type[ParleyError]] = {
    error.code: error
    for error in (
        errors.BadFrame,
        errors.BadRequest,
        errors.UnknownType,
        errors.InvalidId,
        errors.InvalidText,
        errors.TooLarge,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.ClockSkew,
        errors.RateLimited,
        errors.Unavailable,
        errors.OutcomeUnknown,
    )
}


def from_frame(frame: ErrorFrame) -> ParleyError:
    """The error that an `error` frame stands for."""
    kind = _BY_CODE.get(frame["code"])
    if kind is errors.Conflict:
        return errors.Conflict(frame["message"], seq=frame.get("seq"))
    message = frame["message"] if kind else f"{frame['code']}: {frame['message']}"
    return (kind or Refused)(message, retry_after_ms=frame.get("retry_after_ms"), limit=frame.get("limit"))
