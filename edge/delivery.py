"""A session's channels: live events straight from the feeds, everything else from the session's cursors.

A live channel sits in a row of its feed's audience, which writes bytes that all recipients share. A channel
that is not live (its socket was full, or the client asked for older events) stands aside and is fed by a
task, slice by slice, as fast as the socket drains: a slow reader costs one slice of memory and loses nothing.
The rules are in `core.subscriptions`; here is what acts on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from pydantic import BaseModel

from edge import metrics
from edge.core import answers, codec
from edge.core.frames import CursorFrame
from edge.core.ring import Entry
from edge.core.server_frames import ChannelChanged, ChannelName
from edge.core.slices import first_slice
from edge.core.subscriptions import Mode, Replay, Subscription
from edge.fanout import Flush, frames_of
from edge.feed import Feed
from edge.held import Held
from edge.replayer import Replayed, Replayer
from edge.tasks import Errand, Work
from edge.websocket import EdgeProtocol
from shared.errors import OutcomeUnknown, Unavailable
from shared.ids import ChannelId, ChannelKey, Seq, UserId

RETRY_S = 1.0
PATIENCE_S = 10.0
"""How long a hole is retried while the archive is away, before it is named instead."""

_log = structlog.get_logger()


class Delivery:
    """The channels of one session."""

    __slots__ = (
        *("_feeding", "_held", "_on_lost", "_replay_events_max", "_replayer", "_rotation"),
        *("batch", "events", "user", "wire"),
    )

    def __init__(
        self,
        wire: EdgeProtocol,
        user: UserId,
        *,
        batch: bool,
        replayer: Replayer,
        replay_events_max: int,
        on_lost: Callable[[ChannelKey], None],
        spawn: Callable[[Work], object],
    ) -> None:
        self.user = user
        self.events = 0
        self.wire = wire
        self.batch = batch
        self._replayer = replayer
        self._replay_events_max = replay_events_max
        self._held: dict[ChannelKey, Held] = {}
        self._on_lost = on_lost
        self._feeding = Errand(self._feed_all, spawn)
        self._rotation = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def follows(self, feed: Feed) -> bool:
        """Whether the session is attached to this feed and goes on with it."""
        held = self._held.get(feed.key)
        return held is not None and held.feed is feed and held.sub.last is None

    def send(self, frame: BaseModel | bytes) -> None:
        """Write one frame of this session's own, or the JSON of one."""
        self.wire.write(codec.text_frame(frame if isinstance(frame, bytes) else codec.encode(frame)))

    # ------------------------------------------------------------ membership

    def attach(self, feed: Feed, after: Seq | None = None, cursor: CursorFrame | None = None) -> None:
        """The user is a member: live from the feed's head, which the caller tells the client right away.

        With `after`, what came behind that event (a join) is sent first. `cursor`: `resume` with it follows.
        """
        held = self._held.get(feed.key)
        if held is not None and held.feed is feed:
            held.rise()
            feed.attach(held)
            held.sub.renewed(feed.head)
            self._feeding.ask()
            return
        if held is not None:
            held.leave()
        held = self._held[feed.key] = Held(self, feed, Subscription(feed.head if after is None else after))
        feed.attach(held)
        if held.sub.cursor < feed.head:
            held.sub.behind()
            self._feeding.ask()
        elif cursor is None or cursor.seq == feed.head:  # else it would rise at once
            held.sit()

    def lost(self) -> None:
        """The socket is gone: nobody may write to its descriptor any more."""
        for held in self._held.values():
            held.rise()

    def close(self) -> None:
        """The session ends: no feed calls this any more."""
        self._feeding.end()
        for held in self._held.values():
            held.leave()
        self._held.clear()

    def reset(self, feed: Feed) -> None:
        """A lost channel is back, with numbers that have nothing to do with the old ones."""
        self.attach(feed)
        self.send(answers.reset(feed.key.channel, "log_regressed", feed.epoch, feed.head))

    # ------------------------------------------------------------ called by feeds

    def on_flush(self, held: Held, flush: Flush) -> None:
        """A flush for one who stands aside: not live, a full socket, or a membership that ends."""
        if self._held.get(held.feed.key) is not held:
            return
        if flush.removed and self.user in flush.removed:
            held.sub.ended(flush.removed[self.user])
            held.feed.detach(held)
        was_live = held.sub.mode is Mode.LIVE
        fresh = held.sub.offer(flush.entries, writable=self.wire.is_flowing)
        if fresh:
            whole = fresh is flush.entries
            self.wire.write(flush.frames(batch=self.batch) if whole else frames_of(fresh, batch=self.batch))
            self._count(len(fresh))
        if held.sub.mode is not Mode.LIVE:
            if was_live:
                metrics.LAGGING.inc()
            self._feeding.ask()
        elif held.sub.over:
            self._ended(held)
        else:
            held.sit()

    def on_reset(self, held: Held, reason: str) -> None:
        """The feed of a channel is dead: the channel has to be activated again."""
        if self._held.get(held.feed.key) is held:
            held.rise()
            del self._held[held.feed.key]
            _log.warning("delivery.feed_lost", reason=reason)
            self._on_lost(held.feed.key)

    # ------------------------------------------------------------ asked by the client

    def resume(self, key: ChannelKey, cursor: CursorFrame) -> None:
        """Everything after the cursor, or the reason why not (P7)."""
        held = self._held.get(key)
        if held is None:
            self._hole(key.channel, Replay(cursor.seq), cursor.seq, None, "forbidden")
        elif cursor.epoch != held.feed.epoch:
            self._reset(held, "foreign_epoch")
        elif held.has_all_behind(cursor.seq):
            metrics.resumes("complete").inc()
            self.wire.write(answers.nothing_missed(key.channel, cursor.seq))
        elif held.feed.head - cursor.seq > self._replay_events_max and not held.sub.owes(cursor.seq):
            self._hole(key.channel, Replay(cursor.seq), cursor.seq, held.reached, "too_far")
        else:
            held.rise()
            held.sub.asked(cursor.seq)
            if self.wire.is_laden or not self._fed_from_ring(held) or self._is_behind(held):
                self._feeding.ask()

    def heads(self, count: int) -> dict[ChannelId, Seq]:
        """Heads of the next `count` channels in rotation, for the heartbeat (P8).

        Of channels that are live only: the others' events are on their way anyway.
        """
        helds = list(self._held.values())
        if len(helds) > count:
            start = self._rotation % len(helds)
            helds = (helds[start:] + helds[:start])[:count]
            self._rotation = start + count
        return {held.feed.key.channel: held.reached for held in helds if held.sub.mode is Mode.LIVE}

    def flowing(self) -> None:
        """The socket has drained."""
        if any(held.sub.mode is not Mode.LIVE for held in self._held.values()):
            self._feeding.ask()

    async def _feed_all(self) -> None:
        for held in [held for held in self._held.values() if held.sub.mode is not Mode.LIVE]:
            try:
                await self._feed(held)
                held.failing_since_s = None
            except (Unavailable, OutcomeUnknown) as error:
                self._failed(held, error)
            if held.sub.over:
                self._ended(held)

    async def _feed(self, held: Held) -> None:
        """Up to the head. What is asked, or ends, while something is awaited counts from the next step on."""
        sub, feed = held.sub, held.feed
        while self._is_behind(held):
            if self.wire.is_laden:
                await self.wire.drained()
            elif sub.cursor > feed.head:
                await self._reach_log(held)
            elif self._fed_from_ring(held):
                self.wire.flush()
            else:
                expected = sub.cursor
                page = await self._replayer.page(feed, expected)
                if self._is_behind(held) and sub.cursor == expected:
                    self._feed_page(held, page)

    def _feed_page(self, held: Held, page: Sequence[Replayed]) -> None:
        """As much of it as the socket takes; the rest is read again, rather than kept for a slow reader."""
        while page and self._is_behind(held) and self.wire.is_flowing:
            part = first_slice(page)
            page = page[len(part) :]
            self._write(held, part)
            self.wire.flush()

    async def _reach_log(self, held: Held) -> None:
        """The client has seen more than we have."""
        await held.feed.reach_log()
        if self._is_behind(held) and held.sub.cursor > held.feed.head:  # the log has lost its end
            held.sub.skipped(held.feed.head)
            self._reset(held, "ahead_of_head")

    def _fed_from_ring(self, held: Held) -> bool:
        """Feed a slice, if the ring reaches back that far: a crowd that comes back needs no more."""
        entries = held.feed.ring.since(held.sub.cursor) if held.sub.cursor <= held.feed.head else None
        if entries is None:
            return False
        part = first_slice(entries)
        if self._write(held, part) and len(part) == len(entries):
            replay = held.sub.caught_up(held.feed.head)
            held.sit()
            if replay is not None:
                metrics.resumes("complete").inc()
                self.send(answers.complete(held.feed.key.channel, replay, held.sub.cursor))
        return True

    def _write(self, held: Held, items: Sequence[Replayed | Entry]) -> bool:
        """Events behind the cursor; False if they end the membership (P21)."""
        held.feed.audience.flush()  # they may hold what no sink has heard of
        fresh = held.sub.fed(items)
        if fresh:
            self.wire.write(codec.frame_events([item.body for item in fresh], batch=self.batch))
            self._count(len(fresh))
        if held.sub.over:
            self._ended(held)
        return not held.sub.over

    def _count(self, events: int) -> None:
        self.events += events
        metrics.DELIVERED.inc(events)

    def _failed(self, held: Held, error: Unavailable | OutcomeUnknown) -> None:
        """Try again in a moment; after some of that, name the hole rather than keep the channel silent."""
        if not self._is_behind(held):
            return
        loop = asyncio.get_running_loop()
        if held.failing_since_s is None:
            held.failing_since_s = loop.time()
            _log.warning("delivery.starved", error=error.message)
        if loop.time() - held.failing_since_s < PATIENCE_S:
            loop.call_later(RETRY_S, self._feeding.ask)
            return
        held.failing_since_s = None
        reached = held.sub.cursor
        replay = held.sub.skipped(held.feed.head) or Replay(reached)
        self._hole(held.feed.key.channel, replay, reached, held.feed.head, "unavailable")

    def _hole(
        self, channel: ChannelId, replay: Replay, reached: Seq, to: Seq | None, reason: answers.GapReason
    ) -> None:
        metrics.resumes(reason).inc()
        self.send(answers.hole(channel, replay, reached, to, reason))

    def _reset(self, held: Held, reason: answers.ResetReason) -> None:
        metrics.resumes("reset").inc()
        self.send(answers.reset(held.feed.key.channel, reason, held.feed.epoch, held.reached))

    def _ended(self, held: Held) -> None:
        """The removal has been written: the channel is over for this session."""
        held.leave()
        if self._held.get(held.feed.key) is held:
            del self._held[held.feed.key]
            self.send(ChannelChanged(member=False, channel=ChannelName(id=held.feed.key.channel)))

    def _is_behind(self, held: Held) -> bool:
        """Whether it is still here, and not live."""
        return self._held.get(held.feed.key) is held and held.sub.mode is not Mode.LIVE
