"""The messages that commands refer to: who wrote them, and whether they still have a text.

The author is looked up once and remembered, because it never changes. A text can be erased, so what was
remembered of that counts only if the feed has met no erasure in the channel since.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from edge.archive import Archive
from edge.core.actions import Target
from edge.feed import Feed
from shared.events import MessagePosted, Recorded
from shared.ids import ChannelKey, Epoch, Seq

REMEMBERED_MAX = 50_000
"""Messages that are remembered; the one that was used longest ago is forgotten first."""


class _Known(NamedTuple):
    """A message as it was when the feed had come to `head`."""

    target: Target
    head: Seq


class Targets:
    """One per edge. `of_text`: the command is about the text, so what is said of it must hold now."""

    def __init__(self, archive: Archive, *, remembered_max: int = REMEMBERED_MAX) -> None:
        self._archive = archive
        self._remembered_max = remembered_max
        self._known: OrderedDict[tuple[ChannelKey, Epoch, Seq], _Known] = OrderedDict()

    def at_hand(self, feed: Feed, seq: Seq, *, of_text: bool = False) -> Target | None:
        """The message at `seq`, if the answer is here: None may also mean that it has to be looked for."""
        known = self._known.get((feed.key, feed.epoch, seq))
        if known is not None and (not of_text or known.target.erased or known.head >= feed.erased_by):
            self._known.move_to_end((feed.key, feed.epoch, seq))
            return known.target
        entry = feed.ring.get(seq)
        return self._remembered(feed, feed.head, seq, entry.recorded if entry is not None else None)

    async def find(self, feed: Feed, seq: Seq, *, of_text: bool = False) -> Target | None:
        """The message at `seq`, None if no message stands there.

        Raises `Unavailable` if the archive is needed and away.
        """
        if not 1 <= seq <= feed.head:
            return None
        here = self.at_hand(feed, seq, of_text=of_text)
        head = feed.head
        return here or self._remembered(feed, head, seq, await self._recorded(feed, seq))

    def _remembered(self, feed: Feed, head: Seq, seq: Seq, recorded: Recorded | None) -> Target | None:
        if recorded is None or recorded.void is not None or not isinstance(recorded.event, MessagePosted):
            return None
        target = Target(seq, recorded.event.author, erased=bool(recorded.event.erased))
        self._known[feed.key, feed.epoch, seq] = _Known(target, head)
        if len(self._known) > self._remembered_max:
            self._known.popitem(last=False)
        return target

    async def _recorded(self, feed: Feed, seq: Seq) -> Recorded | None:
        entry = feed.ring.get(seq)
        if entry is not None:
            return entry.recorded
        page, _ = await self._archive.history(feed.key, after=Seq(seq - 1), limit=1, applied=feed.stream_seq)
        return page[0] if page and page[0].seq == seq else None
