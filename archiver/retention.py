"""Lets messages expire: says in each channel that has a retention up to where it is over by now.

What is said is an event like any other (`messages.expired`), so all that follows is the way of an erasure.
The fold takes an expiry once, in order, and only while the channel has a retention: so archivers that share
a partition, one that begins anew, and a try that is repeated change nothing twice. The id follows from what
is said, so that the log mostly has it once as well.

How old a message is, says `shared.retention`; a younger one keeps all that stand behind it. Only what is in
Parquet is looked at: a single message of each channel and day, where nothing has expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from archiver import metrics
from archiver.cached_messages import CachedMessages
from archiver.history import History
from archiver.partition import PartitionArchive
from archiver.read_index import ReadIndex
from archiver.threads import Threads
from shared.archive_rows import Row, recorded_of
from shared.archive_store import Reached
from shared.bus import Bus
from shared.channel import ChannelState
from shared.clock import now_us, rfc3339
from shared.events import MessagesExpired, encode
from shared.ids import ChannelId, ChannelKey, Seq, UserId, WorkspaceId, derived_command_id
from shared.retention import cut_us, said_us
from shared.subjects import channel_subject, message_id

AUTHOR = UserId("parley")
"""In whose name messages expire. Whoever else is called so gets no right by it."""

EXPIRED_MAX = 100_000
"""Numbers that expire at once in a partition; more of them wait until those have been carried out."""

AGAIN_S = 5.0
"""After so many seconds is looked whether more may expire."""

RETRY_S = 60.0
SCANNED = 500
"""Imported messages that are looked at together."""

_FIRST = ChannelKey(WorkspaceId(""), ChannelId(""))
_log = structlog.get_logger()


class Retention:
    """Of one partition."""

    def __init__(
        self,
        bus: Bus,
        archive: PartitionArchive,
        history: History,
        read_index: ReadIndex,
        lookups: Threads,
        every_s: float,
        *,
        clock: Callable[[], int] = now_us,
        reached: Reached = lambda _: None,
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._history = history
        self._read_index = read_index
        self._lookups = lookups
        self._every_s = every_s
        self._clock = clock
        self._reached = reached
        self._label = str(archive.partition)
        self._cuts: dict[ChannelKey, int] = {}
        """Up to which moment each channel was looked at."""

    async def run(self) -> None:
        """Until it is cancelled; whatever fails is tried again."""
        while True:
            try:
                pause_s = AGAIN_S if await self.look() else self._every_s
            except Exception as error:  # noqa: BLE001  # the boundary of a task: it harms no archive
                _log.warning("retention.failed", partition=self._archive.partition, error=repr(error))
                metrics.RETENTION_FAILURES.labels(self._label).inc()
                pause_s = min(RETRY_S, self._every_s)
            await asyncio.sleep(pause_s)

    async def look(self) -> bool:
        """Say what has expired by now; whether more has than may at once.

        Raises `Unavailable`, `OutcomeUnknown` and `BusError`: what is not said is found again.
        """
        await self._read_index.now()
        now = self._clock()
        pending = (one.expired for one in self._archive.erasures)
        room = max(0, EXPIRED_MAX - sum(it.below - it.since for it in pending if it is not None))
        cuts: dict[ChannelKey, int] = {}
        async for key, state in self._channels():
            if state is None or state.retention_days is None:
                continue
            cut = cuts[key] = cut_us(now, state.retention_days)
            if self._cuts.get(key) == cut:
                continue
            since = Seq(state.expired_below)
            below = await self._expired_below(key, since, cut)
            upto = Seq(min(below, since + room))
            if upto > since:
                await self._say(key, since, upto, cut)
                room -= upto - since
            if upto < below:
                return True
            self._cuts[key] = cut
        self._cuts = cuts
        return False

    async def _channels(self) -> AsyncIterator[tuple[ChannelKey, ChannelState | None]]:
        """Those that had a retention when they were archived last, as they are now: one state at a time."""
        cache, hot = self._archive.cache, self._archive.hot
        after = _FIRST
        while page := await self._lookups.run(cache.retained, after):
            for key in page:
                archived = await self._lookups.run(cache.heads, [key])
                yield key, (hot.head(key) or archived[key]).state
            after = page[-1]

    async def _expired_below(self, key: ChannelKey, since: Seq, cut: int) -> Seq:
        """Below it everything was said before `cut`, and the next message was not; `since` if nothing was."""
        first, end = await self._messages(key, since, 1)
        if not first or (await self._said(key, first, _said_us)).get(first[0], cut) >= cut:
            return since
        low = await self._recorded_below(key, Seq(first[0] + 1), end, cut)
        count = 1
        while page := (await self._messages(key, low, count))[0]:
            said = await self._said(key, page, _said_us)
            for seq in page:
                if said.get(seq, cut) >= cut:
                    return seq
            low, count = Seq(page[-1] + 1), SCANNED
        return low

    async def _recorded_below(self, key: ChannelKey, low: Seq, high: Seq, cut: int) -> Seq:
        """The same by the log's time, which grows from message to message: so a bisection finds it."""
        while low < high:
            middle = Seq((low + high) // 2)
            found, _ = await self._messages(key, middle, 1)
            if found and found[0] < high:
                at_us = await self._said(key, found, lambda row: row.ts_us)
                if at_us.get(found[0], cut) < cut:
                    low = Seq(found[0] + 1)
                    continue
            high = middle
        return low

    async def _messages(self, key: ChannelKey, seq: Seq, count: int) -> tuple[Sequence[Seq], Seq]:
        """The next archived messages from a number on, and the number behind the channel's archived end."""

        def ask(past: CachedMessages) -> tuple[Sequence[Seq], Seq]:
            return past.above(seq, count), Seq(past.upto + 1)

        return await self._lookups.run(self._archive.cache.messages, key, ask)

    async def _said(self, key: ChannelKey, seqs: Sequence[Seq], when: Callable[[Row], int]) -> dict[Seq, int]:
        """When messages were said; one that the manifest does not have yet is missing: it is young."""
        rows = await self._history.events(key, seqs, self._archive.manifest)
        return {seq: when(row) for seq, row in rows.items()}

    async def _say(self, key: ChannelKey, since: Seq, before: Seq, cut: int) -> None:
        event = MessagesExpired(
            id=derived_command_id(cut // 1000, *key, str(since), str(before)),
            author=AUTHOR,
            since=since,
            before=before,
            older_than=rfc3339(cut),
        )
        self._reached("retention-due")
        await self._bus.commit(
            channel_subject(self._archive.partition, key),
            encode(event),
            msg_id=message_id(key, event.author, event.id),
        )
        self._reached("retention-said")
        metrics.EXPIRIES.labels(self._label).inc()
        _log.info("messages.expired", partition=self._archive.partition, numbers=before - since)


def _said_us(row: Row) -> int:
    return said_us(recorded_of(row))
