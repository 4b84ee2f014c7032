"""Read markers: how far each user has read, monotone, in a bucket that all edges share (P15, AT-25).

A marker carries the channel's message count at its position, so that unread is a difference of two counts
(AT-21) and nothing is ever incremented. Writes are conditional on the marker that was read: of two sessions
that read at once, the farther one wins, whatever the order.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence

from pydantic import ValidationError

from edge.archive import Archive
from edge.breakers import Breakers
from edge.core.server_frames import Read
from edge.feed import Feed
from edge.lookups import Lookups, Spawn
from shared.bus import Bus, BusError
from shared.errors import Unavailable, WrongLastSequence
from shared.ids import ChannelId, Seq, StreamSeq, UserId, WorkspaceId
from shared.records import ReadMarker
from shared.stream_reads import LAST_SUBJECTS_MAX
from shared.subjects import READS, bucket_stream, kv_subject, read_key

CONTENTION_TRIES_MAX = 8
MARK_DEADLINE_S = 3.0
"""A marker is worth less than the commands of its channel, which wait behind it."""

_STREAM = bucket_stream(READS)
_NO_MESSAGE = 10037


class Reads:
    """One per edge."""

    def __init__(self, bus: Bus, archive: Archive, breakers: Breakers, *, spawn: Spawn) -> None:
        self._bus = bus
        self._lookups = Lookups(bus, _STREAM, filters_max=LAST_SUBJECTS_MAX, spawn=spawn)
        self._archive = archive
        self._breakers = breakers

    async def markers(
        self, workspace: WorkspaceId, user: UserId, channels: Sequence[ChannelId]
    ) -> dict[ChannelId, ReadMarker]:
        """The user's markers in these channels, where there are any."""
        if not channels:
            return {}
        mine = kv_subject(READS, read_key(workspace, user, ChannelId("")))
        stored = await self._lookups.newest([mine + channel for channel in channels])
        markers = [marker for value in stored if (marker := _marker(value.body)) is not None]
        return {marker.channel: marker for marker in markers}

    async def mark(self, feed: Feed, user: UserId, seq: Seq) -> ReadMarker:
        """Move the marker forward to `seq` (at most the head); returns the marker that stands now.

        Raises `Unavailable`.
        """
        seq = min(seq, feed.head)
        subject = kv_subject(READS, read_key(feed.key.workspace, user, feed.key.channel))
        revision, found = await self._current(subject, certain=False)
        marker = standing(feed, found)
        if marker is not None and marker.seq >= seq:
            return marker
        moved = ReadMarker(
            channel=feed.key.channel,
            seq=seq,
            messages=await self._messages_up_to(feed, seq),
            epoch=feed.epoch,
        )
        with self._breakers.commit(_STREAM):
            for _ in range(CONTENTION_TRIES_MAX):
                with contextlib.suppress(WrongLastSequence):
                    await self._bus.commit(
                        subject,
                        moved.model_dump_json().encode(),
                        expect_last=revision,
                        deadline_s=MARK_DEADLINE_S,
                    )
                    return moved
                revision, found = await self._current(subject, certain=True)
                marker = standing(feed, found)
                if marker is not None and marker.seq >= seq:
                    return marker
        raise Unavailable("the read marker is being moved by others", retry_after_ms=200)

    async def _current(self, subject: str, *, certain: bool) -> tuple[StreamSeq, ReadMarker | None]:
        """Revision and value: from any replica at first, from the leader after a conflict."""
        if not certain:
            stored = await self._bus.last(_STREAM, subject)
            return (stored.stream_seq, _marker(stored.body)) if stored else (StreamSeq(0), None)
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.{_STREAM}", {"last_by_subj": subject})
        except BusError as error:
            if error.err_code == _NO_MESSAGE:
                return StreamSeq(0), None
            raise Unavailable(f"read markers: {error.message}", retry_after_ms=1000) from error
        message = answer["message"]
        assert isinstance(message, dict)
        return StreamSeq(message["seq"]), _marker(base64.b64decode(message.get("data", "")))

    async def _messages_up_to(self, feed: Feed, seq: Seq) -> int:
        if seq == feed.head:
            return feed.messages
        entry = feed.ring.get(seq)
        if entry is not None:
            return entry.messages
        return await self._archive.count(feed.key, seq, feed.stream_seq) if seq > 0 else 0


def standing(feed: Feed, marker: ReadMarker | None) -> ReadMarker | None:
    """The marker, if it speaks of the log in this epoch: what was read in another one may be gone."""
    return marker if marker is not None and marker.epoch in {"", feed.epoch} else None


def unread(feed: Feed, marker: ReadMarker | None) -> int:
    """Messages after the marker: arithmetic on two counts."""
    marker = standing(feed, marker)
    return feed.messages if marker is None else max(0, feed.messages - marker.messages)


def read_frame(feed: Feed, marker: ReadMarker | None) -> Read:
    """What a session is told of it (P15)."""
    marker = standing(feed, marker)
    return Read(channel=feed.key.channel, seq=marker.seq if marker else Seq(0), unread=unread(feed, marker))


def _marker(body: bytes) -> ReadMarker | None:
    try:
        return ReadMarker.model_validate_json(body)
    except ValidationError:
        return None
