"""One flush of a feed on its way to many sessions: framed once, shared by all (P20)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.core import codec
from edge.core.ring import Entry
from shared.events import MemberRemoved
from shared.ids import Seq, UserId

_ENDING = frozenset({"member.removed", "member.left"})


class Flush:
    """Entries, their frames for each kind of client, and the users whose membership they end."""

    __slots__ = ("_batched", "_plain", "entries", "first", "last", "removed")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.first = entries[0].seq
        self.last = entries[-1].seq
        self.removed = _removed(entries)
        self._plain: bytes | None = None
        self._batched: bytes | None = None

    def frames(self, *, batch: bool) -> bytes:
        """The frames for a client that can read batches, or cannot."""
        if batch:
            if self._batched is None:
                self._batched = frames_of(self.entries, batch=True)
            return self._batched
        if self._plain is None:
            self._plain = frames_of(self.entries, batch=False)
        return self._plain


def frames_of(entries: Sequence[Entry], *, batch: bool) -> bytes:
    """Frames for a part of a flush, for a session that has seen the rest."""
    return codec.frame_events([entry.body for entry in entries], batch=batch)


def _removed(entries: Sequence[Entry]) -> Mapping[UserId, Seq]:
    """Whose membership ends in these entries, and with which event (P21)."""
    removed: dict[UserId, Seq] = {}
    for entry in entries:
        event = entry.recorded.event
        if event.kind in _ENDING and entry.recorded.void is None:
            if isinstance(event, MemberRemoved):
                removed[event.user] = entry.seq
            else:
                removed[event.author] = entry.seq
    return removed
