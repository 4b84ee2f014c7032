"""One channel of one session, between its feed and its delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.audience import Row
from edge.core.subscriptions import Mode, Subscription
from edge.fanout import Flush
from edge.feed import Feed
from edge.websocket import EdgeProtocol
from shared.ids import Seq, UserId


class Owner(Protocol):
    """The session's delivery."""

    user: UserId
    wire: EdgeProtocol
    batch: bool
    events: int

    def on_flush(self, held: Held, flush: Flush) -> None:
        """A flush that the feed could not just write."""

    def on_reset(self, held: Held, reason: str) -> None:
        """The feed is dead."""


@dataclass(slots=True, eq=False)
class Held:
    """One channel of one session: what its feed writes to.

    While it sits in a row `sub.cursor` is where it sat down, and the row knows where it is now: whoever uses
    `sub` lets it rise before.
    """

    delivery: Owner
    feed: Feed
    sub: Subscription
    failing_since_s: float | None = None
    row: Row | None = None
    seat: int = 0

    @property
    def user(self) -> UserId:
        """Whose session it is."""
        return self.delivery.user

    @property
    def wire(self) -> EdgeProtocol:
        """Where its frames go."""
        return self.delivery.wire

    @property
    def reached(self) -> Seq:
        """The last event that was written, if the channel is live."""
        return self.row.reached if self.row is not None else self.sub.cursor

    def has_all_behind(self, seq: Seq) -> bool:
        """Whether a client that is as far as this misses nothing, and is told of what comes."""
        return self.row is not None and seq == self.row.reached == self.feed.head

    def on_flush(self, flush: Flush) -> None:
        """Consecutive events of the channel, for one who stands aside (P19 to P21)."""
        self.delivery.on_flush(self, flush)

    def on_reset(self, reason: str) -> None:
        """The feed is dead: the channel has to be activated again."""
        self.delivery.on_reset(self, reason)

    def sit(self) -> None:
        """From the next flush on the feed may write on its own, if the channel is live."""
        if self.sub.mode is Mode.LIVE and self.sub.last is None and self.row is None:
            self.feed.audience.sit(self, self.sub.cursor, batch=self.delivery.batch)

    def rise(self) -> None:
        """Take back what the row did."""
        if self.row is not None:
            self.delivery.events += self.row.reached - self.sub.cursor
            self.sub.cursor = self.row.reached
            self.feed.audience.rise(self)

    def leave(self) -> None:
        """The feed writes nothing any more."""
        self.rise()
        self.feed.detach(self)
