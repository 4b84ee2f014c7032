"""What a client missed and no ring holds any more, page by page from the archive.

The archiver's answer covers the log up to our own head (its hot tail is the log's tail, numbered), so the
pages join the ring without a hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.archive import Archive
from edge.feed import Feed
from shared.errors import Unavailable
from shared.ids import Seq
from shared.wire_form import wire

PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """An event on its way to one client, encoded as it is for everybody (P20)."""

    seq: Seq
    body: bytes


class Replayer:
    """One per edge."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def page(self, feed: Feed, after: Seq) -> Sequence[Replayed]:
        """The next events above `after`, up to the feed's head, from the archive.

        Raises `Unavailable` when the archive is away: nothing was skipped.
        """
        events, _ = await self._archive.history(
            feed.key, after=after, limit=PAGE_MAX, applied=feed.stream_seq
        )
        if not events or events[0].seq != after + 1:
            raise Unavailable("the archive does not reach back to this point", retry_after_ms=1000)
        # The archive may be ahead of us: what our feed has not applied may be behind a removal (P21).
        return [Replayed(recorded.seq, wire(recorded)) for recorded in events if recorded.seq <= feed.head]
