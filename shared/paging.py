"""Which numbers a page around one of them holds."""

from __future__ import annotations


def around(pivot: int, limit: int, lowest: int, highest: int) -> tuple[int, int]:
    """The first and the last of `limit` numbers, half of them before `pivot`, within inclusive bounds.

    Where one side ends, the other gives more. `pivot` lies within the bounds.
    """
    first = max(lowest, pivot - limit // 2)
    last = min(highest, first + limit - 1)
    return max(lowest, last - limit + 1), last
