"""WebSocket frames for a client that has to be cheap: cut out of reads in one pass, masked at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_WHOLE_TEXT = 0x80 | TEXT

Frame = tuple[int, bytes]
"""Opcode and payload of a whole message."""


class FrameScanner:
    """Bytes from a server, in whatever pieces, to whole messages. Servers do not mask (RFC 6455, 5.1)."""

    def __init__(self) -> None:
        self._rest = b""
        self._fragments: list[Frame] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has begun that is not complete."""
        return not self._rest and not self._fragments

    def feed(self, data: bytes) -> list[Frame]:
        """Every message that is complete by now."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if start > size:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size:
                break
            if data[at] == _WHOLE_TEXT:
                frames.append((TEXT, data[start:end]))
            else:
                frames += self._whole(data[at], data[start:end])
            at = end
        self._rest = data[at:]
        return frames

    def _whole(self, first: int, payload: bytes) -> Iterator[Frame]:
        """The message that this frame is, or that it ends."""
        final, opcode = first & 0x80, first & 0x0F
        if opcode >= CLOSE or (final and opcode):
            yield opcode, payload
            return
        self._fragments.append((opcode, payload))
        if final:
            opcode = self._fragments[0][0]
            whole = b"".join(part for _, part in self._fragments)
            self._fragments.clear()
            yield opcode, whole


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """One frame as a client has to send it."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = secrets.token_bytes(4)
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")
