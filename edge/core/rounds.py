"""Who is looked at when: thousands wait for times of their own, and a look costs those whose time it is.

Times are cut into slots of equal length, and a look takes the slots that are over: nobody is seen early, and
nobody later than one slot and the time between two looks. Pure: seconds of one steady clock come in.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Rounds(Generic[Item]):
    """Those who wait, each once."""

    def __init__(self, now_s: float, slot_s: float) -> None:
        self._slot_s = slot_s
        self._next = math.floor(now_s / slot_s)
        """The first slot that no look has taken."""
        self._slots: dict[int, set[Item]] = {}
        self._slot_of: dict[Item, int] = {}

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, item: Item) -> bool:
        return item in self._slot_of

    def __iter__(self) -> Iterator[Item]:
        return iter(tuple(self._slot_of))

    def put(self, item: Item, at_s: float) -> None:
        """From now on it waits for `at_s`, whatever it waited for before."""
        self.drop(item)
        slot = self._slot_of[item] = max(self._next, math.ceil(at_s / self._slot_s))
        self._slots.setdefault(slot, set()).add(item)

    def drop(self, item: Item) -> None:
        """It waits no more. Harmless if it never did."""
        slot = self._slot_of.pop(item, None)
        if slot is not None:
            self._slots[slot].discard(item)
            if not self._slots[slot]:
                del self._slots[slot]

    def take(self, now_s: float) -> list[Item]:
        """Those whose time has come; they wait no more."""
        found: list[Item] = []
        until = math.floor(now_s / self._slot_s)
        while self._next <= until:
            found += self._slots.pop(self._next, ())
            self._next += 1
        for item in found:
            del self._slot_of[item]
        return found
