"""Which channels a user is in, from the sequencer's directory, and what the client is told of each.

The directory only proposes: it can be a moment behind. Whether somebody is a member is read from the
channel's own state, in the feed, at the moment of telling.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import ValidationError

from edge.core.principal import Principal
from edge.core.server_frames import ChannelInfo
from edge.feed import Feed
from edge.reads import unread
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, Seq, WorkspaceId
from shared.records import Belonging, PublicChannel, ReadMarker
from shared.streams import bucket_stream
from shared.subjects import DIRECTORY, directory_key, kv_subject, public_directory_key

_STREAM = bucket_stream(DIRECTORY)


class Directory:
    """Reads the `DIRECTORY` bucket."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def pages(self, principal: Principal, size: int) -> AsyncIterator[tuple[list[ChannelKey], bool]]:
        """The user's channels page by page, and whether there may be more; always at least one page."""
        subject = kv_subject(DIRECTORY, directory_key(principal.workspace, principal.user, ChannelId("*")))
        page: list[ChannelKey] | None = None
        async for batch in self._bus.scan(_STREAM, subject, batch=size):
            if page is not None:
                yield page, True
            found = [_belonging(stored.body) for stored in batch]
            page = [ChannelKey(principal.workspace, it.channel) for it in found if it and it.member]
        yield page or [], False

    async def public_channels(self, workspace: WorkspaceId) -> list[PublicChannel]:
        """All public channels of a workspace, in the order of their ids."""
        subject = kv_subject(DIRECTORY, public_directory_key(workspace, ChannelId("*")))
        found: list[PublicChannel] = []
        async for batch in self._bus.scan(_STREAM, subject):
            found += [channel for stored in batch if (channel := _public(stored.body)) is not None]
        return sorted(found, key=lambda channel: channel.channel)


def describe(feed: Feed, principal: Principal, marker: ReadMarker | None) -> ChannelInfo:
    """A channel as this member sees it now."""
    state = feed.state
    return ChannelInfo(
        id=feed.key.channel,
        kind=state.kind,
        name=state.name,
        topic=state.topic,
        role=state.members[principal.user],
        epoch=feed.epoch,
        head=feed.head,
        read=marker.seq if marker else Seq(0),
        unread=unread(feed, marker),
        archived=state.archived,
        members=len(state.members),
    )


def _belonging(body: bytes) -> Belonging | None:
    try:
        return Belonging.model_validate_json(body)
    except ValidationError:
        return None


def _public(body: bytes) -> PublicChannel | None:
    try:
        return PublicChannel.model_validate_json(body)
    except ValidationError:
        return None
