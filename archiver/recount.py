"""Counts archived events once more, into a cache that has lost them: run by run, in each channel by channel.

Memory does not grow with a run: it is read in the order of its files, in which a channel's events are
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from archiver.cache import Cache
from archiver.core.compaction import Run
from archiver.core.hot import ChannelEvents, HotEvent, counted
from archiver.core.manifest import BrokenManifest
from archiver.parquet import stream_rows
from shared.archive_rows import Row, body_of
from shared.archive_store import Store
from shared.ids import ChannelId, ChannelKey, StreamSeq, WorkspaceId

EVENTS_AT_ONCE = 10_000


def recount(partition: Store, run: Run, cache: Cache) -> None:
    """Take a run into the cache, from the cache's position on. Raises `BrokenManifest` and OSError."""
    position = cache.position
    if run.hi > position:
        cache.record(StreamSeq(position + 1), run.hi, _counted(partition, run, cache, position))


def _counted(partition: Store, run: Run, cache: Cache, position: StreamSeq) -> Iterator[ChannelEvents]:
    rows = (row for part in run.parts for row in stream_rows(partition, part) if row.stream_seq > position)
    for key, of_channel in groupby(rows, _key):
        head = cache.heads([key])[key]
        events: list[HotEvent] = []
        for row in of_channel:
            head, hot = counted(key, head, StreamSeq(row.stream_seq), row.ts_us, body_of(row))
            if hot.recorded.seq != row.seq:
                raise BrokenManifest(
                    f"{row.workspace}/{row.channel}: {row.seq} is archived, {hot.recorded.seq} counted"
                )
            events.append(hot)
            if len(events) == EVENTS_AT_ONCE:
                yield key, head, events
                events = []
        if events:
            yield key, head, events


def _key(row: Row) -> ChannelKey:
    return ChannelKey(WorkspaceId(row.workspace), ChannelId(row.channel))
