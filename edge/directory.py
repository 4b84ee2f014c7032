"""Which channels a user is in, from the sequencer's directory, and what the client is told of each.

The directory only proposes: it can be a moment behind. Whether somebody is a member is read from the
channel's own state, in the feed, at the moment of telling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Iterable

from pydantic import ValidationError

from edge.core.greeting import Fields
from edge.core.principal import Principal
from edge.core.server_frames import ChannelInfo
from edge.feed import Feed
from edge.listing import Listing, batches
from edge.lookups import TOO_MANY, Lookups, Spawn, all_below
from edge.reads import standing, unread
from shared.bus import Bus, BusError, StoredMessage, Value
from shared.ids import ChannelId, ChannelKey, StreamSeq
from shared.records import Belonging, PublicChannel, ReadMarker
from shared.subjects import DIRECTORY, bucket_stream, directory_key, kv_subject, public_directory_key

USERS_MAX = 32
"""Whose channels one question is about."""


class Directory:
    """Reads the `DIRECTORY` bucket."""

    def __init__(self, bus: Bus, *, spawn: Spawn) -> None:
        self._bus = bus
        self._lookups = Lookups(
            bus, bucket_stream(DIRECTORY), asked_with=all_below, filters_max=USERS_MAX, spawn=spawn
        )
        self._listing = Listing(bus)

    async def pages(
        self, principal: Principal, size: int, known: Container[ChannelKey] = ()
    ) -> AsyncIterator[tuple[list[ChannelKey], bool]]:
        """The user's channels page by page, and whether there may be more; always at least one page.

        Those that are `known` by then are left out, and cost little.
        All at once, because that is answered from the bucket's index. Page by page the server looks for the
        user's entries through everybody's.
        """
        try:
            values = await self._lookups.newest([_mine(principal)])
        except BusError as error:
            if error.status != TOO_MANY:
                raise
            async for batch, more in batches(self._bus, _mine(principal), after=StreamSeq(0), size=size):
                yield _member_of(principal, batch, known), more
            yield [], False
            return
        for start in range(0, max(1, len(values)), size):
            page = values[start : start + size]
            yield _member_of(principal, page, known), start + size < len(values)

    async def listed(
        self, principal: Principal, after: str, limit: int
    ) -> dict[ChannelId, PublicChannel | None]:
        """The next `limit` channels behind an id, in the order of their ids: the user's and the public ones.

        None for the user's: what they see of those is in the feeds. Raises `Unavailable`.
        """
        everybodys = kv_subject(DIRECTORY, public_directory_key(principal.workspace, ChannelId("*")))
        mine, public = await asyncio.gather(
            self._listing.view(_mine(principal), _kept_if_member),
            self._listing.view(everybodys, lambda body: body),
        )
        found = dict(public.after(after, limit)) | dict(mine.after(after, limit))
        return {channel: _public(found[channel]) for channel in sorted(found)[:limit]}


def describe(feed: Feed, principal: Principal, marker: ReadMarker | None) -> ChannelInfo:
    """A channel as this member sees it now."""
    return ChannelInfo.model_validate(described(feed, principal, marker))


def described(feed: Feed, principal: Principal, marker: ReadMarker | None) -> Fields:
    """The fields of `describe`, in their order: for lists, which are encoded without a model."""
    state = feed.state
    marker = standing(feed, marker)
    fields: Fields = {
        "id": feed.key.channel,
        "kind": state.kind,
        "name": state.name,
        "topic": state.topic,
        "role": state.members[principal.user],
        "epoch": feed.epoch,
        "head": feed.head,
        "read": marker.seq if marker is not None else 0,
        "unread": unread(feed, marker),
        "archived": state.archived,
        "members": len(state.members),
    }
    if state.retention_days is not None:
        fields["retention_days"] = state.retention_days
    return fields


def _member_of(
    principal: Principal, stored: Iterable[Value | StoredMessage], known: Container[ChannelKey]
) -> list[ChannelKey]:
    found: list[ChannelKey] = []
    for value in stored:
        key = ChannelKey(principal.workspace, ChannelId(value.subject.rpartition(".")[2]))
        if key not in known and _kept_if_member(value.body) is not None:
            found.append(key)
    return found


def _mine(principal: Principal) -> str:
    return kv_subject(DIRECTORY, directory_key(principal.workspace, principal.user, ChannelId("*")))


def _belonging(body: bytes) -> Belonging | None:
    try:
        return Belonging.model_validate_json(body)
    except ValidationError:
        return None


def _kept_if_member(body: bytes) -> bytes | None:
    belonging = _belonging(body)
    return b"" if belonging is not None and belonging.member else None


def _public(body: bytes) -> PublicChannel | None:
    try:
        return PublicChannel.model_validate_json(body)
    except ValidationError:
        return None
