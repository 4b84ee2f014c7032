"""A session's memberships: the list in `welcome` and what changes afterwards (P6, P21).

Proposals come from the directory, from hints about a membership that has changed, from cursors of the
client, and from feeds that were given up. Each is checked against the channel's own state; only then is the
channel attached and the client told, both in one step, so that no event falls in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from edge.core.frames import CursorFrame
from edge.core.greeting import Fields, page_of
from edge.core.joining import last_join
from edge.core.principal import Principal
from edge.core.server_frames import ChannelChanged, ChannelName
from edge.delivery import Delivery
from edge.directory import Directory, describe, described
from edge.feed import Feed
from edge.feeds import Feeds
from edge.reads import Reads, read_frame
from edge.rush import Rush
from edge.tasks import Errand, Work
from shared.bus import BusError
from shared.errors import OutcomeUnknown, Unavailable
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq
from shared.records import Belonging, ReadMarker

SETTLE_DEADLINE_S = 5.0
RETRY_S = 1.0
_START = StreamSeq(0)

Pages = AsyncIterator[tuple[list[ChannelKey], bool]]
"""A user's channels page by page, and whether there may be more."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Proposal:
    """A channel that the user may be in, `joined` with that event if somebody says so.

    `position`: what our feed has to reach before it can say so.
    """

    position: StreamSeq = _START
    joined: Seq | None = None
    cursor: CursorFrame | None = None
    was_lost: bool = False


class Roster:
    """The memberships of one session."""

    __slots__ = (
        *("_channels_max", "_considering", "_cursors", "_delivery", "_directory", "_feeds", "_listed"),
        *("_page", "_principal", "_proposals", "_reads", "_rush"),
    )

    def __init__(
        self,
        principal: Principal,
        delivery: Delivery,
        *,
        directory: Directory,
        feeds: Feeds,
        reads: Reads,
        rush: Rush,
        page: int,
        channels_max: int,
        spawn: Callable[[Work], object],
    ) -> None:
        self._principal = principal
        self._delivery = delivery
        self._directory = directory
        self._feeds = feeds
        self._reads = reads
        self._rush = rush
        self._page = page
        self._channels_max = channels_max
        self._cursors: dict[ChannelKey, CursorFrame] = {}
        self._listed = False
        self._proposals: dict[ChannelKey, _Proposal] = {}
        self._considering = Errand(self._consider, spawn)

    def close(self) -> None:
        """The session ends: no proposal is considered any more."""
        self._considering.end()

    # ------------------------------------------------------------ proposals, synchronous

    def hint(self, belonging: Belonging) -> None:
        """Somebody says that the user became a member. (An end shows in the feed itself.)"""
        if belonging.member:
            key = ChannelKey(self._principal.workspace, belonging.channel)
            proposal = self._proposal(key)
            if proposal is not None:
                proposal.position = max(proposal.position, belonging.stream_seq)
                proposal.joined = belonging.seq

    def lost(self, key: ChannelKey) -> None:
        """The channel's feed was given up: activate it again and tell the client to start anew."""
        proposal = self._proposal(key)
        if proposal is not None:
            proposal.was_lost = True

    def begin(self, cursors: Mapping[ChannelId, CursorFrame]) -> None:
        """The client said with its hello how far it is."""
        workspace = self._principal.workspace
        self._cursors = {ChannelKey(workspace, channel): cursor for channel, cursor in cursors.items()}

    def resume(self, channel: ChannelId, cursor: CursorFrame) -> None:
        """The client asks for what follows a cursor (P7)."""
        key = ChannelKey(self._principal.workspace, channel)
        if key in self._delivery:
            self._delivery.resume(key, cursor)
        elif not self._listed:
            self._cursors[key] = cursor
        elif (proposal := self._proposal(key)) is not None:
            proposal.cursor = cursor

    def _proposal(self, key: ChannelKey) -> _Proposal | None:
        if key not in self._proposals and len(self._proposals) >= self._channels_max:
            _log.warning("roster.full", channels_max=self._channels_max)
            return None
        self._consider_soon()
        return self._proposals.setdefault(key, _Proposal())

    def _consider_soon(self) -> None:
        """Once the client knows the list."""
        if self._listed:
            self._considering.ask()

    # ------------------------------------------------------------ the list

    async def pages(self) -> Pages:
        """The user's channels page by page, and whether there may be more; the first goes into `welcome`.

        Who comes back names their channels themselves: those are the first page, and what else there is
        is looked up when everybody has been served who comes back in the same crowd.
        """
        if self._cursors:
            yield list(self._cursors)[: self._page], True
            await self._rush.over()
        async for keys, more in self._directory.pages(self._principal, self._page, self._delivery):
            yield keys, more

    async def attach(self, keys: Sequence[ChannelKey]) -> list[Fields]:
        """Attach those that the user is a member of; what is doubtful is told later, as if joined then.

        Nothing is awaited after the first is attached: the caller sends the list and calls `resume_listed`
        before it awaits anything else.
        """
        feeds = {key: self._feeds.get(key) for key in keys if key not in self._delivery}
        if None in feeds.values():
            await self._feeds.patience(feeds)
            doubtful = {key for key in feeds if self._feeds.is_doubtful(key) and self._proposal(key)}
            feeds = await self._feeds.activate([key for key in feeds if key not in doubtful])
        markers = await self._markers(feeds)
        infos: list[Fields] = []
        for key, feed in feeds.items():
            if key in self._delivery or not self._may_follow(feed):
                continue
            assert feed is not None
            self._delivery.attach(feed, cursor=self._cursors.get(key))
            infos.append(described(feed, self._principal, markers.get(key.channel)))
        return infos

    def resume_listed(self) -> None:
        """Answer the cursors of the channels that the client has been told of."""
        for key in [key for key in self._cursors if key in self._delivery]:
            self._delivery.resume(key, self._cursors.pop(key))

    async def finish_list(self, rest: Pages) -> None:
        """Send the other pages; from then on what changes is followed."""
        while not await self._told(rest):
            await asyncio.sleep(RETRY_S)
            rest = self._directory.pages(self._principal, self._page, self._delivery)
        self._listed = True
        for key, cursor in self._cursors.items():
            self.resume(key.channel, cursor)
        self._cursors.clear()
        if self._proposals:
            self._considering.ask()

    async def _told(self, rest: Pages) -> bool:
        """Send these pages; False if they could not be read. Begun anew, what was told is left out."""
        try:
            async for keys, more in rest:
                infos = await self.attach(keys)
                self._delivery.send(page_of(infos, more=more))
                self.resume_listed()
        except (Unavailable, BusError) as error:
            _log.warning("roster.list_postponed", error=error.message)
            return False
        return True

    # ------------------------------------------------------------ what changes

    async def _consider(self) -> None:
        while keys := [key for key in self._proposals if not self._feeds.is_doubtful(key)][: self._page]:
            chosen = {key: self._proposals.pop(key) for key in keys}
            try:
                feeds = await self._feeds.activate(keys)
                markers = await self._markers(feeds)
                for key, proposal in chosen.items():
                    feed = feeds[key]
                    if feed is not None:
                        await self._settled(feed, proposal)
                    self._decide(key, feed, proposal, markers.get(key.channel))
            except (Unavailable, BusError) as error:
                _log.warning("roster.postponed", channels=len(chosen), error=error.message)
                self._proposals = {**chosen, **self._proposals}
                break
        if self._proposals:
            asyncio.get_running_loop().call_later(RETRY_S, self._considering.ask)

    async def _settled(self, feed: Feed, proposal: _Proposal) -> None:
        if proposal.position > feed.stream_seq:
            try:
                await feed.settled(proposal.position, SETTLE_DEADLINE_S)
            except OutcomeUnknown:
                _log.warning("roster.feed_behind")

    def _decide(
        self, key: ChannelKey, feed: Feed | None, proposal: _Proposal, marker: ReadMarker | None
    ) -> None:
        if feed is not None and feed.closed:  # lost again, or meanwhile
            self._proposals.setdefault(key, proposal)
            return
        if feed is not None and self._may_follow(feed):
            if proposal.was_lost:
                self._delivery.reset(feed)
                self._delivery.send(read_frame(feed, marker))
            elif not self._delivery.follows(feed):
                joined = self._joined(feed, proposal)
                info = describe(feed, self._principal, marker).model_copy(update={"head": joined})
                self._delivery.attach(feed, joined)
                self._delivery.send(ChannelChanged(member=True, channel=info))
        elif proposal.was_lost and not self._is_member(feed):  # removed while there was no feed
            self._delivery.send(ChannelChanged(member=False, channel=ChannelName(id=key.channel)))
        if proposal.cursor is not None:
            self._delivery.resume(key, proposal.cursor)

    def _joined(self, feed: Feed, proposal: _Proposal) -> Seq:
        """From where on the user follows: from the newest join, for a hint may be about an older one."""
        if proposal.joined is None:
            return feed.head
        newest = last_join(feed.ring.since(Seq(feed.ring.floor - 1)) or (), self._principal.user)
        return min(newest or proposal.joined, feed.head)

    def _may_follow(self, feed: Feed | None) -> bool:
        if feed is None or feed.closed or not self._is_member(feed):
            return False
        if len(self._delivery) >= self._channels_max and feed.key not in self._delivery:
            _log.warning("roster.full", channels_max=self._channels_max)
            return False
        return True

    def _is_member(self, feed: Feed | None) -> bool:
        return feed is not None and self._principal.user in feed.state.members

    async def _markers(self, feeds: Mapping[ChannelKey, Feed | None]) -> dict[ChannelId, ReadMarker]:
        found = [key.channel for key, feed in feeds.items() if feed is not None]
        return await self._reads.markers(self._principal.workspace, self._principal.user, found)
