"""What a load client reads of events: channel, seq, and the stamp in the text.

A stamp is the monotonic clock in nanoseconds at which a message was due, twenty digits at the start of its
text; the clock is the same for all processes of a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tests.bench.frames import TEXT, FrameScanner

STAMP_DIGITS = 20
CHUNKS_KEPT = 1024
_EVENT = b'{"type":"event","channel":"'
_SEQ = b'","seq":'
_TEXT = b'"text":"'

Events = tuple[tuple[bytes, int, int], ...]
"""Channel, seq, stamp (0: none)."""


def stamped(due_ns: int, text: str) -> str:
    """`text` with its first characters replaced by the stamp."""
    return f"{due_ns:0{STAMP_DIGITS}d}{text[STAMP_DIGITS:]}"


def is_event(payload: bytes) -> bool:
    """Whether a text frame holds events."""
    return payload.startswith((_EVENT, b"["))


def read_events(payload: bytes) -> Events:
    """Channel, seq and stamp (0: none) of one event, or of those in an array (P1).

    Relies on the order of the fields that `shared.wire_form.wire` gives.
    """
    return tuple(_read_event(event) for event in payload.split(_EVENT)[1:])


def _read_event(event: bytes) -> tuple[bytes, int, int]:
    channel, _, rest = event.partition(_SEQ)
    _, found, text = rest.partition(_TEXT)
    stamp = text[:STAMP_DIGITS] if found else b""
    return channel, int(rest[: rest.index(b",")]), int(stamp) if stamp.isdigit() else 0


def chunk_reader(
    is_event: Callable[[bytes], bool], read_events: Callable[[bytes], Events]
) -> Callable[[bytes], Events | None]:
    """What returns the events of a read that holds nothing but whole frames of them; None for any other.

    Kept, because the bytes are the same for every recipient (P20) and many of them are in this process.
    """

    @functools.lru_cache(maxsize=CHUNKS_KEPT)
    def read(data: bytes) -> Events | None:
        scanner = FrameScanner()
        frames = scanner.feed(data)
        whole = scanner.is_empty and all(opcode == TEXT and is_event(payload) for opcode, payload in frames)
        return tuple(event for _, payload in frames for event in read_events(payload)) if whole else None

    return read


read_chunk = chunk_reader(is_event, read_events)
"""Of an edge's frames."""
