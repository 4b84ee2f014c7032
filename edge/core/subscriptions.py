"""What of a channel a session has been sent, and what it is to be sent next (P7, P19, P21).

A subscription is a cursor, the seq of the last event that was written to the client, and a mode:

    live       events are written as the feed brings them
    lagging    the socket did not take them: the session is fed from its cursor as the socket drains
    replaying  the client asked for what follows an older cursor: the same, with an answer at the end

Only in `live` are events taken from the feed, and only those that follow the cursor; in the other modes the
feed's events are left alone, because the feeder reads them again behind the cursor. So live events cannot
overtake a replay, nothing is sent twice, and nothing is left out: a batch that does not follow the cursor
makes the subscription lagging instead of leaving a hole.

`last` is the seq of the event that ended the user's membership: the last one that may be sent.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from shared.ids import Seq


class Numbered(Protocol):
    """Anything that stands at a position of the channel's log."""

    @property
    def seq(self) -> Seq:
        """Its position."""
        ...


Item = TypeVar("Item", bound=Numbered)


class Mode(enum.Enum):
    """How a subscription is fed."""

    LIVE = "live"
    LAGGING = "lagging"
    REPLAYING = "replaying"


@dataclass(slots=True)
class Replay:
    """A question of the client's: everything after `after`. `count` events were sent so far."""

    after: Seq
    count: int = 0


class Subscription:
    """One session's interest in one channel. It starts live at the head that the client was told."""

    __slots__ = ("cursor", "last", "mode", "replay")

    def __init__(self, cursor: Seq) -> None:
        self.mode = Mode.LIVE
        self.cursor = cursor
        self.last: Seq | None = None
        self.replay: Replay | None = None

    @property
    def over(self) -> bool:
        """Whether everything that the user may see has been sent, and nothing may follow."""
        return self.last is not None and self.cursor >= self.last

    def advance(self, first: Seq, last: Seq) -> bool:
        """Whether the events `first` to `last` may be written as they are: then they count as sent."""
        if first != self.cursor + 1 or self.mode is not Mode.LIVE or self.last is not None:
            return False
        self.cursor = last
        return True

    def offer(self, items: Sequence[Item], *, writable: bool) -> Sequence[Item]:
        """Events from the feed: those to write now. They count as sent."""
        if self.mode is not Mode.LIVE or not items:
            return ()
        if writable and self.advance(items[0].seq, items[-1].seq):
            return items
        fresh = self._fresh(items)
        if not fresh:
            return ()
        if not writable or fresh[0].seq != self.cursor + 1:
            self.mode = Mode.LAGGING
            return ()
        self.cursor = fresh[-1].seq
        return fresh

    def fed(self, items: Sequence[Item]) -> Sequence[Item]:
        """Events that were read again behind the cursor: those to write now. They count as sent.

        Raises ValueError, and changes nothing, if they leave a hole.
        """
        assert self.mode is not Mode.LIVE, "a live subscription is fed by its feed"
        fresh = self._fresh(items) if items else ()
        if not fresh:
            return ()
        if fresh[0].seq != self.cursor + 1:
            raise ValueError(f"fed {fresh[0].seq} after {self.cursor}")
        self.cursor = fresh[-1].seq
        if self.replay is not None:
            self.replay.count += len(fresh)
        return fresh

    def owes(self, after: Seq) -> bool:
        """Whether everything above `after` is on its way anyway, asked for or not."""
        return self.mode is not Mode.LIVE and after >= self.cursor

    def asked(self, after: Seq) -> None:
        """The client asks for everything after `after`, whatever was sent before."""
        self.mode = Mode.REPLAYING
        self.cursor = after
        self.replay = Replay(after)

    def behind(self) -> None:
        """The feed is ahead of the cursor already: fed from the cursor first."""
        self.mode = Mode.LAGGING

    def caught_up(self, head: Seq) -> Replay | None:
        """The feeder has reached `head`: live again. The replay that has ended by this, if there was one."""
        assert self.cursor == head or self.over, f"{self.cursor} is not the head {head}"
        return self._live()

    def skipped(self, head: Seq) -> Replay | None:
        """What lies between is named as a gap instead of being sent: live from `head`."""
        self.cursor = head
        return self._live()

    def ended(self, last: Seq) -> None:
        """The event at `last` ended the user's membership: nothing after it may be sent (P21)."""
        if self.last is None:
            self.last = last

    def renewed(self, head: Seq) -> None:
        """The user is a member again before the end was reached; the feed starts behind `head`."""
        self.last = None
        if self.mode is Mode.LIVE and self.cursor != head:
            self.mode = Mode.LAGGING

    def _live(self) -> Replay | None:
        replay, self.replay = self.replay, None
        self.mode = Mode.LIVE
        return replay

    def _fresh(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those after the cursor and up to the end; the whole sequence as it is in the usual case."""
        if items[0].seq > self.cursor and (self.last is None or items[-1].seq <= self.last):
            return items
        last = self.last if self.last is not None else items[-1].seq
        return [item for item in items if self.cursor < item.seq <= last]
