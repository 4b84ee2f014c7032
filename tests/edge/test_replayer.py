"""What a client missed, from the archive and the ring without a seam."""

from __future__ import annotations

import pytest

from edge.core.ring import Entry
from edge.fanout import Flush
from edge.replayer import Replayed, Replayer
from shared.ids import Seq
from tests.support.recording import Edge, posted


@pytest.mark.usefixtures("archiver")
async def test_replay_joins_archive_and_ring(edge: Edge) -> None:
    """From any cursor a replay is every event above it, once, in order, the bytes that live clients saw."""
    feed = await edge.channel("replay")
    live: dict[int, bytes] = {}

    class Tap:
        def on_flush(self, flush: Flush) -> None:
            live.update({entry.seq: entry.body for entry in flush.entries})

        def on_reset(self, reason: str) -> None:
            raise AssertionError(reason)

    feed.attach(Tap())
    for number in range(120):
        await edge.publisher.record(feed, posted(f"é {number}"))
    replayer = Replayer(edge.archive)
    for after in (0, 1, 60, 89, 90, 91, 120, 121):
        replayed: list[Replayed | Entry] = []
        while (entries := feed.ring.since(Seq(after + len(replayed)))) is None:
            replayed += await replayer.page(feed, Seq(after + len(replayed)))
        replayed += entries
        assert [one.seq for one in replayed] == list(range(after + 1, 122))
        assert all(live[one.seq] == one.body for one in replayed if one.seq > 1)
