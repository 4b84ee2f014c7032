"""Typing on its way: announced to all edges, shown to the other members who are here, never stored (P16)."""

from __future__ import annotations

import asyncio

import structlog
from pydantic import ValidationError

from edge import metrics
from edge.core import codec
from edge.core import server_frames as s
from edge.core.actions import member
from edge.core.principal import Principal
from edge.core.typing import ENDING, Typists
from edge.feed import Feed
from edge.feeds import Feeds
from edge.held import Held
from shared.bus import Bus, Message
from shared.errors import InvalidId, Unavailable
from shared.events import KnownEvent
from shared.records import Typing
from shared.subjects import EPHEMERAL, ephemeral_subject, parse_channel_subject

_log = structlog.get_logger()


class TypingBoard:
    """One per edge."""

    def __init__(self, bus: Bus, feeds: Feeds, *, members_max: int) -> None:
        self._bus = bus
        self._feeds = feeds
        self._typists = Typists(members_max=members_max)

    async def listen(self) -> None:
        """From now on show what other edges, and this one, announce."""
        await self._bus.subscribe(EPHEMERAL, self._on_announcement)

    async def announce(self, feed: Feed, principal: Principal) -> None:
        """A user types. Raises `Forbidden` or `NotFound` for those who are no members (AT-31)."""
        state = member(feed.state, principal)
        if self._typists.suppressed(state):
            metrics.TYPING.labels("suppressed").inc()
            return
        if not self._typists.announce(feed.key, principal.user, asyncio.get_running_loop().time()):
            metrics.TYPING.labels("repeated").inc()
            return
        body = Typing(user=principal.user).model_dump_json().encode()
        try:
            await self._bus.publish(ephemeral_subject(feed.partition, feed.key), body)
        except Unavailable:  # the first thing that may be lost
            metrics.TYPING.labels("dropped").inc()
            return
        metrics.TYPING.labels("announced").inc()

    def recorded(self, feed: Feed, event: KnownEvent) -> None:
        """The user said something or left: typing again is news."""
        if event.kind in ENDING:
            self._typists.ended(feed.key, event.author)

    def _on_announcement(self, message: Message) -> None:
        try:
            _, key = parse_channel_subject(message.subject)
            user = Typing.model_validate_json(message.body).user
        except (InvalidId, ValidationError):
            _log.warning("typing.unreadable")
            return
        feed = self._feeds.get(key)
        if feed is None or user not in feed.state.members:
            return
        frame = codec.text_frame(codec.encode(s.Typing(channel=key.channel, user=user)))
        for sink in feed.audience:
            if isinstance(sink, Held) and sink.user != user and sink.wire.is_flowing:
                sink.wire.write(frame)
