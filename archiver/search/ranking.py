"""How good a hit is: BM25 in Python, so that a question costs as much as what it ranks.

FTS5's own `bm25` walks the whole list of every term first, to know how rare it is: with millions of messages
that takes longer than all the rest. Here it is asked of the newest messages only. One term alone is as rare
in each hit as in any other, so nobody asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import apsw

from archiver.core.match import expression
from archiver.core.query import Phrase

FUNCTION = "goodness"
SAMPLE = 50_000
"""Newest places of the log in which the messages with a term are counted."""

K1, B = 1.2, 0.75
"""As everywhere: how soon repeating a term stops to help, and how much a long text counts against it."""


class Ranking:
    """For one connection; `begin` before each statement that calls `goodness(words)`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._worths: list[tuple[int, float]] = []
        """What each phrase adds, by its number in the expression."""
        self._slope = 0.0
        """What a term more takes away."""
        connection.register_fts5_function(FUNCTION, self._goodness)

    def begin(self, phrases: Sequence[Phrase]) -> None:
        """The phrases come first in the expression that is asked."""
        self._slope = 0.0
        weights = [1.0] if len(phrases) == 1 else [self._rarity(phrase) for phrase in phrases]
        self._worths = [(number, weight * (K1 + 1)) for number, weight in enumerate(weights)]

    def _rarity(self, phrase: Phrase) -> float:
        """What a hit of this phrase is worth against one of others."""
        newest = self._connection.execute("SELECT coalesce(max(stream_seq), 0) FROM docs").get
        sql = "SELECT count(*) FROM words WHERE words MATCH ? AND rowid > ?"
        assert isinstance(newest, int)
        found = self._connection.execute(sql, (expression([phrase], []), newest - SAMPLE)).get
        assert isinstance(found, int)
        return math.log(1 + (SAMPLE - found + 0.5) / (found + 0.5))

    def _goodness(self, api: apsw.FTS5ExtensionApi, *_: Any) -> float:
        if not self._slope:
            self._slope = K1 * B * max(1, api.row_count) / api.column_total_size(0)
        length = K1 * (1 - B) + self._slope * api.column_size(0)
        score = 0.0
        for number, worth in self._worths:
            often = len(api.phrase_column_offsets(number, 0))
            score += worth * often / (often + length)
        return score
