"""What a client missed, page by page: from the ring if it reaches back that far, else from the archive.

The archiver's answer covers the log up to our own head (its hot tail is the log's tail, numbered), so the
pages join the ring without a hole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from edge.archive import Archive
from edge.feed import Feed
from shared.errors import Unavailable
from shared.events import wire
from shared.ids import Seq

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

    async def pages(self, feed: Feed, after: Seq) -> AsyncIterator[Sequence[Replayed]]:
        """Consecutive events above `after`; ends when the feed's head at that moment has been given out.

        The last page is given without an await before it, so a caller who attaches right behind it has
        everything. Raises `Unavailable` when the archive is needed and away: nothing was skipped.
        """
        while True:
            entries = feed.ring.since(after)
            if entries is not None:
                if entries:
                    yield [Replayed(entry.seq, entry.body) for entry in entries]
                    after = entries[-1].seq
                if after >= feed.head:
                    return
                continue
            events, _ = await self._archive.history(
                feed.key, after=after, limit=PAGE_MAX, applied=feed.stream_seq
            )
            if not events or events[0].seq != after + 1:
                raise Unavailable("the archive does not reach back to this point", retry_after_ms=1000)
            # The archive may be ahead of us: what our feed has not applied may be behind a removal (P21).
            known = [recorded for recorded in events if recorded.seq <= feed.head]
            yield [Replayed(recorded.seq, wire(recorded)) for recorded in known]
            after = known[-1].seq
