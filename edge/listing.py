"""Channels in the order of their ids, page by page, from a directory that knows only the order of changes.

What a filter of the directory holds (a user's channels, a workspace's public ones) is kept here, in order.
Each question first reads the entries behind the newest one that was seen: usually none, so a page costs one
request that is answered with nothing, however many channels there are. What does not fit is forgotten, and
so is what is older than `AGE_MAX_S` (revisions begin anew if somebody deletes the bucket): whoever asks
next pays for one reading of the whole.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from edge import metrics
from shared.bus import Bus, StoredMessage
from shared.ids import ChannelId, StreamSeq
from shared.subjects import DIRECTORY, bucket_stream

AGE_MAX_S = 300.0
VIEWS_MAX = 256
ENTRIES_MAX = 200_000
"""Entries of all views together; only the view in use may exceed that alone."""

BATCH = 500
_STREAM = bucket_stream(DIRECTORY)
_PENDING = "Nats-Num-Pending"

Kept = Callable[[bytes], bytes | None]
"""What is remembered of a value; None: it is not listed."""


async def batches(
    bus: Bus, subject: str, *, after: StreamSeq, size: int
) -> AsyncIterator[tuple[list[StoredMessage], bool]]:
    """The directory's values behind a revision, batch by batch, and whether more follow."""
    more = True
    while more:
        batch = await bus.direct_batch(
            _STREAM, subject, start=StreamSeq(after + 1), batch=size, timeout_s=5.0
        )
        if not batch:
            return
        more = batch[-1].headers.get(_PENDING) != "0"  # saves the request that would only find the end
        after = batch[-1].stream_seq
        yield batch, more


class View:
    """What one filter holds: ids in order, and what was kept of each value."""

    def __init__(self, subject: str, kept: Kept, *, born_s: float) -> None:
        self.born_s = born_s
        self.lock = asyncio.Lock()
        self._subject = subject
        self._kept = kept
        self._reached = StreamSeq(0)
        self._ids: list[ChannelId] = []
        self._values: dict[ChannelId, bytes] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def after(self, channel: str, limit: int) -> list[tuple[ChannelId, bytes]]:
        """The next `limit` entries behind an id."""
        start = bisect.bisect_right(self._ids, channel)
        return [(found, self._values[found]) for found in self._ids[start : start + limit]]

    async def refresh(self, bus: Bus) -> None:
        """Take in what changed. Raises `Unavailable`; what was read by then stays."""
        async for batch, _ in batches(bus, self._subject, after=self._reached, size=BATCH):
            for stored in batch:
                self._take(ChannelId(stored.subject.rpartition(".")[2]), self._kept(stored.body))
            self._reached = batch[-1].stream_seq

    def _take(self, channel: ChannelId, value: bytes | None) -> None:
        known = channel in self._values
        if value is not None:
            self._values[channel] = value
            if not known:
                bisect.insort(self._ids, channel)
        elif known:
            del self._values[channel]
            del self._ids[bisect.bisect_left(self._ids, channel)]


class Listing:
    """The views of this edge."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._views: OrderedDict[str, View] = OrderedDict()

    async def view(self, subject: str, kept: Kept) -> View:
        """What the filter holds now. Raises `Unavailable`."""
        now_s = asyncio.get_running_loop().time()
        view = self._views.get(subject)
        if view is None or now_s - view.born_s > AGE_MAX_S:
            view = self._views[subject] = View(subject, kept, born_s=now_s)
        self._views.move_to_end(subject)
        async with view.lock:
            await view.refresh(self._bus)
        self._make_room()
        return view

    def _make_room(self) -> None:
        entries = sum(map(len, self._views.values()))
        while len(self._views) > 1 and (len(self._views) > VIEWS_MAX or entries > ENTRIES_MAX):
            entries -= len(self._views.popitem(last=False)[1])
        metrics.LISTING.set(entries)
