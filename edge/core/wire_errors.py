"""Why the server closes a connection: the close codes as data (P10).

4000 to 4499: reconnect and resume. 4500 to 4999: do not come back without a change. Codes of the
WebSocket standard (1007, 1009) keep their meaning; a client that ran into one must change what it sends.
The errors that leave the session open are the tree in `shared.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseCode:
    """One row of the table; `name` is the `reason` of `bye` and of the close frame."""

    code: int
    name: str
    resumable: bool
    meaning: str


GOING_AWAY = CloseCode(
    4000, "going_away", True, "The node drains; reconnect after retry_after_ms and resume."
)
HEARTBEAT_TIMEOUT = CloseCode(
    4001,
    "heartbeat_timeout",
    True,
    "Nothing was heard from the client for one and a half heartbeat intervals.",
)
LAGGING = CloseCode(
    4002, "lagging", True, "The client read too slowly for too long; reconnect and resume from its cursors."
)
INTERNAL = CloseCode(4003, "internal_error", True, "A fault of the server; reconnect and resume.")
OVERLOADED = CloseCode(
    4004, "overloaded", True, "The session exceeded a bound of the server; reconnect after retry_after_ms."
)
HELLO_TIMEOUT = CloseCode(4400, "hello_timeout", True, "No hello came within ten seconds.")
UNAUTHORIZED = CloseCode(
    4500, "unauthorized", False, "The token is missing, malformed or signed by nobody whom we trust."
)
TOKEN_EXPIRED = CloseCode(4501, "token_expired", False, "The token expired; come back with a new one.")
REVOKED = CloseCode(4502, "revoked", False, "The session was revoked.")
BAD_HELLO = CloseCode(
    4503, "bad_hello", False, "The first frame was no valid hello of a protocol version that is spoken here."
)
BAD_TEXT = CloseCode(1007, "invalid_utf8", False, "A text frame was not valid UTF-8.")
FRAME_TOO_LARGE = CloseCode(
    1009, "frame_too_large", False, "A frame was larger than welcome.limits.frame_bytes."
)

CLOSE_CODES: tuple[CloseCode, ...] = (
    GOING_AWAY,
    HEARTBEAT_TIMEOUT,
    LAGGING,
    INTERNAL,
    OVERLOADED,
    HELLO_TIMEOUT,
    UNAUTHORIZED,
    TOKEN_EXPIRED,
    REVOKED,
    BAD_HELLO,
    BAD_TEXT,
    FRAME_TOO_LARGE,
)
