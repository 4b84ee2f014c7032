"""The number that each message of a fan-out carries in its text: whoever hears it can prove the order.

The bytes of a mark survive every server's JSON, so a listener finds it without parsing what stands around it.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_NAME, DIGITS = "fan-out#", 8
_MARK = re.compile(rb"fan-out#(\d{8})#")
_TAIL_BYTES = len(_NAME) + DIGITS
_PING = b'{"type":"ping"'
_READS_KEPT = 64


def marked(number: int, text: str) -> str:
    """`text` with its first characters replaced by the mark; as long as before."""
    mark = f"{_NAME}{number:0{DIGITS}d}#"
    return mark + text[len(mark) :]


@dataclass(frozen=True, slots=True)
class Marks:
    """What a read holds: the numbers from `first` to `last` (0: none), and what may be half a mark."""

    first: int
    last: int
    is_in_order: bool
    has_ping: bool
    tail: bytes


@functools.lru_cache(maxsize=_READS_KEPT)
def read_marks(data: bytes) -> Marks:
    """The marks in these bytes. Kept, because most connections are sent the same bytes."""
    numbers = [int(digits) for digits in _MARK.findall(data)]
    first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
    return Marks(
        first=first,
        last=last,
        is_in_order=not numbers or numbers == list(range(first, first + len(numbers))),
        has_ping=_PING in data,
        tail=data[-_TAIL_BYTES:],
    )
