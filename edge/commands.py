"""Commands that write: checked, recorded, answered. The same path for WebSocket and HTTP (P11 to P14, P23).

Two steps, so that a caller can keep its order and still have many old ids at work: `prepare` does everything
that may refuse without a trace, and `record` makes the event durable. Nearly every command can be prepared
from what is at hand, without waiting: that is `prepare_now`. Between the two steps there is no await, so
commands that are prepared one after the other reach the publisher in that order.

A command that would now be refused may be the retry of one that was recorded: who left cannot leave again.
So a refusal first looks whether the log holds the id already (P12).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from edge.archive import Archive
from edge.core import actions
from edge.core import frames as f
from edge.core.joining import JOINING, joined_by
from edge.core.limits import Buckets, Rate
from edge.core.principal import Principal
from edge.core.recording import Recording, of_known
from edge.core.server_frames import Ack
from edge.feed import Feed
from edge.feeds import Feeds
from edge.publisher import Answer, Publisher
from edge.reads import Reads
from edge.settings import EdgeSettings
from edge.targets import Targets
from edge.users import Users
from shared import events as e
from shared.bus import BusError
from shared.clock import rfc3339
from shared.errors import Conflict, Forbidden, NotFound, OutcomeUnknown, Unavailable
from shared.fingerprints import fingerprint, says
from shared.ids import ChannelKey, Seq, UserId
from shared.records import Belonging

_log = structlog.get_logger()


class Prepared(NamedTuple):
    """A command that may be recorded. `known`: it was recorded earlier, and this is the answer."""

    key: ChannelKey
    event: e.KnownEvent
    feed: Feed | None
    known: Recording | None = None


class Commands:
    """One per edge."""

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        feeds: Feeds,
        publisher: Publisher,
        archive: Archive,
        users: Users,
        reads: Reads,
    ) -> None:
        self._feeds = feeds
        self._publisher = publisher
        self._archive = archive
        self._users = users
        self._reads = reads
        self._targets = Targets(archive)
        self._text_bytes_max = settings.text_bytes_max
        self._channels: Buckets[ChannelKey] = Buckets(
            "channel", Rate(settings.channel_rate, settings.channel_burst)
        )

    async def execute(self, principal: Principal, command: f.WritingCommand) -> Ack:
        """Prepare and record."""
        prepared = await self.prepare(principal, command)
        recording = await self.record(prepared)
        return Ack(
            id=prepared.event.id,
            channel=prepared.key.channel,
            seq=recording.seq,
            ts=rfc3339(recording.at_us),
            duplicate=recording.duplicate,
        )

    def prepare_now(self, principal: Principal, command: f.WritingCommand) -> Prepared | None:
        """Everything that can refuse the command before it leaves a trace. Raises `ParleyError`.

        None if that cannot be said without waiting: then ask `prepare`.
        """
        actions.check_text(command, self._text_bytes_max)
        if isinstance(command, f.CreateChannel):
            channel, event = actions.creation_of(command, principal)
            return Prepared(ChannelKey(principal.workspace, channel), event, None)
        feed = self._feeds.get(ChannelKey(principal.workspace, command.channel))
        if feed is None:
            return None
        seq = actions.target_of(command)
        target = self._targets.at_hand(feed, seq, of_text=_is_edit(command)) if seq is not None else None
        if seq is not None and target is None:
            return None
        try:
            prepared = Prepared(feed.key, actions.event_of(command, principal, feed.state, target), feed)
        except (Conflict, Forbidden, NotFound):
            return None  # perhaps the retry of one that was recorded
        self._take_token(prepared, principal)
        return prepared

    async def prepare(self, principal: Principal, command: f.WritingCommand) -> Prepared:
        """The same, for every command."""
        prepared = self.prepare_now(principal, command)
        if prepared is None:
            assert isinstance(command, f.InChannel), "a creation needs nothing that is not at hand"
            feed = await self.feed(ChannelKey(principal.workspace, command.channel))
            prepared = await self._prepare_in(feed, principal, command)
            self._take_token(prepared, principal)
        return prepared

    def needs_task(self, prepared: Prepared) -> bool:
        """Whether only `record` can record it: a new channel, or somebody joins and has to be told."""
        return prepared.feed is None or prepared.event.kind in JOINING

    def is_late(self, prepared: Prepared) -> bool:
        """Whether several of these may be recorded at once without losing their order (`record_late`)."""
        return self._publisher.is_late(prepared.event)

    def record_late(self, prepared: Prepared, headers: dict[str, str]) -> asyncio.Future[Recording]:
        """`record` for a late command, handed over at once."""
        assert prepared.feed is not None
        return self._publisher.record_late(prepared.feed, prepared.event, headers)

    def record_fresh(self, prepared: Prepared, headers: dict[str, str], then: Answer) -> None:
        """`record` for a fresh command: `then` is called where the log's answer is read."""
        assert prepared.feed is not None
        self._publisher.record_fresh(prepared.feed, prepared.event, headers, then)

    async def record(self, prepared: Prepared) -> Recording:
        """Make it durable. Raises what the publisher raises."""
        if prepared.known is not None:
            return prepared.known
        feed = prepared.feed
        if feed is not None:
            recording = await self._publisher.record(feed, prepared.event)
        else:
            assert isinstance(prepared.event, e.ChannelCreated)
            feed, recording = await self._publisher.create(prepared.key, prepared.event)
        await self._announce(feed, prepared.event, recording)
        return recording

    async def feed(self, key: ChannelKey) -> Feed:
        """The active feed of a channel; raises `NotFound` in the one form that says nothing."""
        feed = self._feeds.get(key) or (await self._feeds.activate([key]))[key]
        if feed is None:
            raise actions.absent()
        return feed

    def _take_token(self, prepared: Prepared, principal: Principal) -> None:
        """Raises `RateLimited`; what is recorded already costs nothing, and operators are paced otherwise."""
        if prepared.known is None and not (principal.may_import or principal.may_erase):
            now_s = asyncio.get_running_loop().time()
            self._channels.of(prepared.key, now_s).take(now_s)

    async def _prepare_in(self, feed: Feed, principal: Principal, command: f.InChannel) -> Prepared:
        try:
            actions.visible(feed.state, principal, command)
            seq = actions.target_of(command)
            target = (
                await self._targets.find(feed, seq, of_text=_is_edit(command)) if seq is not None else None
            )
            if seq is not None and target is None:
                raise actions.no_message(seq)
            event = actions.event_of(command, principal, feed.state, target)
        except (Conflict, Forbidden, NotFound):
            known = await self._recorded_before(feed, principal, command)
            if known is None:
                raise
            return known
        return Prepared(feed.key, event, feed)

    async def _recorded_before(
        self, feed: Feed, principal: Principal, command: f.InChannel
    ) -> Prepared | None:
        """The earlier recording of the same command, if the log holds it. Raises `Conflict`."""
        author = actions.actor(command, principal).author
        for entry in reversed(feed.ring.since(Seq(feed.ring.floor - 1)) or ()):
            recorded = entry.recorded
            if (recorded.event.id, recorded.event.author) == (command.id, author):
                if recorded.void is not None:
                    return None
                event = _draft(command, principal)
                if not says(fingerprint(recorded.event), event):
                    raise Conflict("this id is recorded with another body", seq=recorded.seq)
                known = Recording(recorded.seq, recorded.at_us, duplicate=True)
                return Prepared(feed.key, event, feed, known)
        if principal.user not in feed.state.members and feed.state.kind != "public":
            return None  # a stranger's question must not take longer here than elsewhere
        return await self._archived_before(feed, author, principal, command)

    async def _archived_before(
        self, feed: Feed, author: UserId, principal: Principal, command: f.InChannel
    ) -> Prepared | None:
        event = _draft(command, principal)
        try:
            (known,), _ = await self._archive.ids(feed.key, [(author, command.id)], feed.stream_seq)
        except Unavailable:
            return None
        return None if known is None else Prepared(feed.key, event, feed, of_known(known, event))

    async def _announce(self, feed: Feed, event: e.KnownEvent, recording: Recording) -> None:
        """Tell new members at once: the sequencer will as well, but it may be a moment behind, or away."""
        if recording.duplicate or event.kind not in JOINING:
            return
        for user in joined_by(event):
            role = feed.state.members.get(user)
            if role is not None:
                await self._reads_from_here(feed, event, user, recording.seq)
                belonging = Belonging(
                    channel=feed.key.channel,
                    member=True,
                    role=role,
                    kind=feed.state.kind,
                    seq=recording.seq,
                    stream_seq=feed.stream_seq,
                )
                await self._users.tell_membership(feed.key.workspace, user, belonging)

    async def _reads_from_here(self, feed: Feed, event: e.KnownEvent, user: UserId, seq: Seq) -> None:
        """What was said before a user came is not unread for them. A courtesy: it may fail."""
        if feed.messages == 0 or event.imported is not None:
            return
        try:
            await self._reads.mark(feed, user, seq)
        except (Unavailable, OutcomeUnknown, BusError) as error:
            _log.warning("commands.unread_from_the_start", error=error.message)


def _draft(command: f.InChannel, principal: Principal) -> e.KnownEvent:
    """What the command would record; its target's author is no part of what is compared."""
    who = actions.actor(command, principal)
    seq = actions.target_of(command)
    return actions.draft(command, who, None if seq is None else actions.Target(seq, who.author))


def _is_edit(command: f.InChannel) -> bool:
    return isinstance(command, f.Edit)
