"""The `bye` that precedes every close by the server (P10), framed."""

from __future__ import annotations

from edge.core import codec, wire_errors
from edge.core.server_frames import Bye
from edge.core.wire_errors import CloseCode


def bye_frame(code: CloseCode, retry_after_ms: int | None = None) -> bytes:
    """The frame for a code, with the time to come back."""
    bye = Bye(code=code.code, reason=code.name, resumable=code.resumable, retry_after_ms=retry_after_ms)
    return codec.text_frame(codec.encode(bye))


STANDARD = {code.code: bye_frame(code) for code in (wire_errors.BAD_TEXT, wire_errors.FRAME_TOO_LARGE)}
"""For those who break the rules of WebSocket, by the code of RFC 6455."""
