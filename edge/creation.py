"""Creating a channel: its first event, on the condition that its log holds none.

A log that was trimmed may look empty though the channel exists. So the checkpoints are asked before, if the
log is known to be trimmed, and whatever was answered, the first event that stands in the end decides.
"""

from __future__ import annotations

import time

from edge.archive import Archive, recorded_already
from edge.breakers import Breakers
from edge.core.recording import Recording
from edge.epochs import Epochs
from edge.feed import Feed
from edge.feeds import Feeds
from edge.trimmed import Log, counted
from shared import telemetry
from shared.bus import Bus, PubAck
from shared.errors import Conflict, Unavailable, WrongLastSequence
from shared.events import ChannelCreated, Recorded, encode
from shared.fingerprints import fingerprint
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq
from shared.subjects import channel_subject, log_stream, message_id, partition_of

WHOLE_BELIEVED_S = 60.0
"""How long a log that has never been trimmed is taken for whole without asking again."""

_NOT_ASKED = Epoch(""), StreamSeq(0), 0.0


class Creations:
    """One per edge."""

    def __init__(self, bus: Bus, feeds: Feeds, archive: Archive, breakers: Breakers, partitions: int) -> None:
        self._bus = bus
        self._feeds = feeds
        self._archive = archive
        self._breakers = breakers
        self._partitions = partitions
        self._fronts = Fronts(bus, feeds.epochs)

    async def create(self, key: ChannelKey, event: ChannelCreated) -> tuple[Feed, Recording]:
        """Record the first event of a channel. The same creation again returns the first one.

        Raises `Conflict` if another creation stands there, else what `record` raises.
        """
        ack = await self._begin(key, event)
        with recorded_already("created, but the log cannot be read yet"):
            feed = (await self._feeds.activate([key]))[key]
            if feed is None:
                raise Unavailable("the channel cannot be read", retry_after_ms=1000)
            first = await self._first(feed)
        _same_creation(feed, first, event)
        is_ours = (
            ack is not None and ack.stream_seq == first.stream_seq and (ack.retried or not ack.duplicate)
        )
        return feed, Recording(Seq(1), first.at_us, duplicate=not is_ours)

    async def _begin(self, key: ChannelKey, event: ChannelCreated) -> PubAck | None:
        """Publish the first event of a channel; None if there is one already.

        A trimmed log would take another first one: then the checkpoints know whether the channel exists.
        """
        partition = partition_of(key, self._partitions)
        try:
            with self._breakers.commit(log_stream(partition)):
                if await self._fronts.hides(key, partition):
                    return None
                return await self._bus.commit(
                    channel_subject(partition, key),
                    encode(event),
                    msg_id=message_id(key, event.author, event.id),
                    expect_last=StreamSeq(0),
                    headers=telemetry.headers(),
                )
        except WrongLastSequence:
            return None

    async def _first(self, feed: Feed) -> Recorded:
        """The first event of a channel."""
        entry = feed.ring.get(Seq(1))
        if entry is not None:
            return entry.recorded
        page, _ = await self._archive.history(feed.key, after=Seq(0), limit=1, applied=feed.stream_seq)
        if not page:
            raise Unavailable("the archive does not hold the channel's beginning yet", retry_after_ms=1000)
        return page[0]


def _same_creation(feed: Feed, first: Recorded, event: ChannelCreated) -> None:
    """Raises `Conflict` if the channel's first event is another creation.

    A direct channel belongs to its members, whoever of them opens it first.
    """
    same = fingerprint(first.event) == fingerprint(event)
    shared = event.channel_kind == "direct" and event.author in feed.state.members
    if not same and not shared:
        is_of_id = (first.event.author, first.event.id) == (event.author, event.id)
        raise Conflict(f"channel {feed.key.channel} exists already", seq=first.seq if is_of_id else None)


class Fronts:
    """Which logs have been trimmed, as far as this edge knows. In one epoch a front moves forward only."""

    def __init__(self, bus: Bus, epochs: Epochs) -> None:
        self._bus = bus
        self._epochs = epochs
        self._known: dict[Partition, tuple[Epoch, StreamSeq, float]] = {}

    async def hides(self, key: ChannelKey, partition: Partition) -> bool:
        """Whether the channel exists though its log may look empty. Raises `Unavailable` or `BusError`.

        A log that was whole a moment ago is taken for whole. Whoever writes a second beginning because of
        that sees it void, like everybody: activation asks the log itself.
        """
        log = Log(key, partition, self._epochs.of(partition))
        epoch, first, asked_s = self._known.get(partition, _NOT_ASKED)
        is_old = first <= 1 and time.monotonic() - asked_s >= WHOLE_BELIEVED_S
        if epoch != log.epoch or is_old:
            asked_s = time.monotonic()
            first = await self._bus.first_seq(log_stream(partition))
            self._known[partition] = log.epoch, first, asked_s
        return first > 1 and await counted(self._bus, log, first) is not None
