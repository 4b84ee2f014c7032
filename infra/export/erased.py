"""What an export leaves out although the archive may still hold it: texts that an event of the log erases.

The archive's files are rewritten some time after an erasure is recorded; no export waits for that, and none
gives out what was to be gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from shared.archive_rows import Row, recorded_of, row_of
from shared.erasure import SAID, Erasure, emptied, erasure_of
from shared.ids import Seq

ERASING_SQL = "void IS NULL AND kind IN ('message.erased', 'user.erased', 'messages.expired')"
"""Which events erase."""


Key = TypeVar("Key")


class Erased:
    """The erasures among some events, by what they name; the last one of each counts."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._messages: dict[tuple[str, int | None], Seq] = {}
        self._users: dict[tuple[str, str], Seq] = {}
        self._expired: dict[str, Erasure] = {}
        for row in rows:
            erasure = erasure_of(recorded_of(row))
            if erasure is not None and erasure.ref is not None:
                _later(self._messages, (row.channel, erasure.ref), erasure.before)
            elif erasure is not None and erasure.user is not None:
                _later(self._users, (row.channel, erasure.user), erasure.before)
            elif erasure is not None:
                held = self._expired.get(row.channel, erasure)
                self._expired[row.channel] = max(held, erasure, key=lambda one: one.before)

    def __bool__(self) -> bool:
        return bool(self._messages or self._users or self._expired)

    def without(self, row: Row) -> Row:
        """The row as it may be given out."""
        return _emptied(row) if self._names(row) else row

    def _names(self, row: Row) -> bool:
        """The same as `Erasure.names` of any of them, however many there are."""
        expired = self._expired.get(row.channel)
        if expired is not None and expired.names(row.seq, row.kind, row.author, row.ref):
            return True
        message = row.ref if row.kind == "message.edited" else row.seq
        befores = (
            self._messages.get((row.channel, row.seq)),
            self._messages.get((row.channel, message)),
            self._users.get((row.channel, row.author)) if row.kind in SAID else None,
        )
        return any(before is not None and row.seq < before for before in befores)


def _later(befores: dict[Key, Seq], key: Key, before: Seq) -> None:
    befores[key] = max(before, befores.get(key, before))


def _emptied(row: Row) -> Row:
    recorded, body = emptied(recorded_of(row))
    return row_of(recorded, body)
