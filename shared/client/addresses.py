"""Which of several edges a client dials next.

At random among those that it has not just left: if all clients of an edge went on to the next one of the
list, that one would get all of them at once. In rounds: every address is tried once before any is tried
again, so a client finds the one edge that is left within as many tries as there are addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Addresses:
    """The addresses of one client. `pick(n)` gives a random number from 0 to n - 1."""

    def __init__(self, urls: Sequence[str], pick: Callable[[int], int]) -> None:
        """Raises ValueError if there are none."""
        if not urls:
            raise ValueError("a client needs an address")
        self._urls = tuple(dict.fromkeys(urls))
        self._pick = pick
        self._untried = list(self._urls)
        self._current = ""

    def following(self, *, held: bool) -> str:
        """The address to dial now. `held`: at the last one a session was open, so a new round begins."""
        if held or not self._untried:
            self._untried = [url for url in self._urls if url != self._current] or list(self._urls)
        self._current = self._untried.pop(self._pick(len(self._untried)))
        return self._current
