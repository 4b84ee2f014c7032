"""How much goes to a slow reader at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

SLICE_BYTES = 24 * 1024
"""What is written at once to a session that is not live: so much waits in this process for a slow reader."""


class Sized(Protocol):
    """Anything with a body."""

    @property
    def body(self) -> bytes:
        """What is sent of it."""
        ...


Item = TypeVar("Item", bound=Sized)


def first_slice(items: Sequence[Item]) -> Sequence[Item]:
    """The first of them, with bodies of `SLICE_BYTES` together at most, but at least one."""
    total = 0
    for count, item in enumerate(items):
        total += len(item.body)
        if total > SLICE_BYTES and count:
            return items[:count]
    return items
