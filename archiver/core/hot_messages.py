"""The hot messages of one channel, and what hot events say about messages, each found by the message's seq.

Only events that have an effect are in here: not void, and later than the message that they name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.events import MessageDeleted, MessageEdited, MessagePosted, ReactionAdded, ReactionRemoved
from shared.ids import Seq, StreamSeq

if TYPE_CHECKING:
    from archiver.core.hot import HotEvent

CHANGES = (ReactionAdded, MessageEdited, ReactionRemoved, MessageDeleted)
"""Events that change a message."""


@dataclass(frozen=True, slots=True)
class Later:
    """Hot events about messages of a channel, as of one moment: by what they change, by what they answer."""

    about: Mapping[Seq, Sequence[HotEvent]]
    replies: Mapping[Seq, Sequence[HotEvent]]
    deletions: Sequence[HotEvent]

    def behind(self, position: StreamSeq) -> Later:
        """Only what is behind a position."""
        if not (self.deletions or any(self.about.values()) or any(self.replies.values())):
            return self
        return Later(
            {seq: _behind(events, position) for seq, events in self.about.items()},
            {seq: _behind(events, position) for seq, events in self.replies.items()},
            _behind(self.deletions, position),
        )


class HotMessages:
    """Grows and shrinks with the channel's hot events."""

    def __init__(self) -> None:
        self._seqs: list[Seq] = []
        self._about: dict[Seq, list[HotEvent]] = {}
        self._replies: dict[Seq, list[HotEvent]] = {}
        self._deletions: list[HotEvent] = []

    def add(self, hot: HotEvent) -> None:
        """The channel's next event."""
        at = hot.recorded
        event = at.event
        if at.void is not None:
            return
        if isinstance(event, MessagePosted):
            self._seqs.append(at.seq)
            if event.thread is not None and event.thread < at.seq:
                self._replies.setdefault(event.thread, []).append(hot)
        elif isinstance(event, CHANGES) and event.ref < at.seq:
            self._about.setdefault(event.ref, []).append(hot)
            if isinstance(event, MessageDeleted):
                self._deletions.append(hot)

    def drop(self, events: Sequence[HotEvent]) -> None:
        """Forget the oldest events: these."""
        oldest = HotMessages()
        for hot in events:
            oldest.add(hot)
        del self._seqs[: len(oldest._seqs)]
        del self._deletions[: len(oldest._deletions)]
        _shorten(self._about, oldest._about)
        _shorten(self._replies, oldest._replies)

    def below(self, seq: int, count: int) -> list[Seq]:
        """The newest messages below a seq, ascending."""
        end = bisect_left(self._seqs, seq)
        return self._seqs[max(0, end - count) : end]

    def above(self, seq: int, count: int) -> list[Seq]:
        """The oldest messages from a seq on, ascending."""
        start = bisect_left(self._seqs, seq)
        return self._seqs[start : start + count]

    def replies(self, root: Seq) -> tuple[HotEvent, ...]:
        """The replies to a message."""
        return tuple(self._replies.get(root, ()))

    def later(self, seqs: Sequence[Seq]) -> Later:
        """What is said about messages."""
        return Later(
            {seq: tuple(self._about.get(seq, ())) for seq in seqs},
            {seq: self.replies(seq) for seq in seqs},
            tuple(self._deletions),
        )


def _shorten(by_seq: dict[Seq, list[HotEvent]], oldest: Mapping[Seq, Sequence[HotEvent]]) -> None:
    for seq, events in oldest.items():
        del by_seq[seq][: len(events)]
        if not by_seq[seq]:
            del by_seq[seq]


def seqs_of(events: Iterable[HotEvent]) -> list[Seq]:
    """Their numbers."""
    return [hot.recorded.seq for hot in events]


def _behind(events: Sequence[HotEvent], position: StreamSeq) -> Sequence[HotEvent]:
    return [hot for hot in events if hot.recorded.stream_seq > position]
