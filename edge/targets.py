"""Who wrote the message that a command refers to: looked up once, remembered, because it never changes."""

from __future__ import annotations

from collections import OrderedDict

from edge.archive import Archive
from edge.core.actions import Target
from edge.feed import Feed
from shared.events import MessagePosted, Recorded
from shared.ids import ChannelKey, Epoch, Seq, UserId

REMEMBERED_MAX = 50_000
"""Authors that are remembered; the one that was used longest ago is forgotten first."""


class Targets:
    """One per edge."""

    def __init__(self, archive: Archive, *, remembered_max: int = REMEMBERED_MAX) -> None:
        self._archive = archive
        self._remembered_max = remembered_max
        self._authors: OrderedDict[tuple[ChannelKey, Epoch, Seq], UserId] = OrderedDict()

    def at_hand(self, feed: Feed, seq: Seq) -> Target | None:
        """The message at `seq`, if the answer is here: None may also mean that it has to be looked for."""
        author = self._authors.get((feed.key, feed.epoch, seq))
        if author is not None:
            self._authors.move_to_end((feed.key, feed.epoch, seq))
            return Target(seq, author)
        entry = feed.ring.get(seq)
        return self._remembered(feed, seq, entry.recorded if entry is not None else None)

    async def find(self, feed: Feed, seq: Seq) -> Target | None:
        """The message at `seq`, None if no message stands there.

        Raises `Unavailable` if the archive is needed and away.
        """
        if not 1 <= seq <= feed.head:
            return None
        return self.at_hand(feed, seq) or self._remembered(feed, seq, await self._recorded(feed, seq))

    def _remembered(self, feed: Feed, seq: Seq, recorded: Recorded | None) -> Target | None:
        author = _author(recorded)
        if author is None:
            return None
        self._authors[feed.key, feed.epoch, seq] = author
        if len(self._authors) > self._remembered_max:
            self._authors.popitem(last=False)
        return Target(seq, author)

    async def _recorded(self, feed: Feed, seq: Seq) -> Recorded | None:
        entry = feed.ring.get(seq)
        if entry is not None:
            return entry.recorded
        page, _ = await self._archive.history(feed.key, after=Seq(seq - 1), limit=1, applied=feed.stream_seq)
        return page[0] if page and page[0].seq == seq else None


def _author(recorded: Recorded | None) -> UserId | None:
    if recorded is None or recorded.void is not None or not isinstance(recorded.event, MessagePosted):
        return None
    return recorded.event.author
