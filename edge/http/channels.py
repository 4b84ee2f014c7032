"""Channels over HTTP: the list, one channel, its members; of private ones, one's own only (P21).

The list says nothing about what is said in channels that the caller has not joined (AT-48). Who asks for one
public channel by name, or for its past, is answered: whoever may join without asking may look first.
"""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core.principal import Principal
from edge.directory import describe
from edge.feed import Feed
from edge.http.caller import number, principal, visible_feed
from edge.node import Node
from shared.errors import BadRequest, InvalidId
from shared.events import ChannelKind, Role
from shared.ids import ChannelId, ChannelKey, Epoch, Seq, UserId, channel_id
from shared.records import PublicChannel

LIST_MAX = 500
MEMBERS_MAX = 1000
JSON = "application/json"


class ChannelView(BaseModel):
    """A channel as the caller may see it; what only members have is null for others.

    Without `retention_days` its messages are kept for ever.
    """

    id: ChannelId
    kind: ChannelKind
    name: str
    topic: str
    archived: bool
    members: int
    member: bool
    role: Role | None = None
    epoch: Epoch | None = None
    head: Seq | None = None
    read: Seq | None = None
    unread: int | None = None
    retention_days: int | None = None


class ChannelList(BaseModel):
    """A page of channels in the order of their ids; ask for what follows with `after`."""

    channels: list[ChannelView]
    more: bool


class MemberView(BaseModel):
    """A member and their role."""

    user: UserId
    role: Role


class MemberList(BaseModel):
    """A page of members in the order of their ids."""

    members: list[MemberView]
    more: bool


class ChannelRoutes:
    """The endpoints, bound to a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.routes = [
            Route("/v1/channels", self.listing),
            Route("/v1/channels/{channel}", self.one),
            Route("/v1/channels/{channel}/members", self.members),
        ]

    async def listing(self, request: Request) -> Response:
        """The caller's channels and the public ones of the workspace."""
        caller = principal(self._node, request)
        limit = number(request, "limit", default=100, least=1, most=LIST_MAX)
        assert limit is not None
        known = await self._node.directory.listed(caller, _after(request), limit + 1)
        chosen = list(known)
        views = await self._views(caller, chosen[:limit], known)
        return _json(ChannelList(channels=views, more=len(chosen) > limit))

    async def one(self, request: Request) -> Response:
        """One channel."""
        caller = principal(self._node, request)
        feed = await visible_feed(self._node, request, caller)
        markers = await self._node.reads.markers(caller.workspace, caller.user, [feed.key.channel])
        if caller.user not in feed.state.members:
            return _json(_outside(feed))
        info = describe(feed, caller, markers.get(feed.key.channel))
        return _json(ChannelView(**info.model_dump(), member=True))

    async def members(self, request: Request) -> Response:
        """The members of a channel."""
        caller = principal(self._node, request)
        limit = number(request, "limit", default=100, least=1, most=MEMBERS_MAX)
        assert limit is not None
        feed = await visible_feed(self._node, request, caller)
        after = request.query_params.get("after", "")
        chosen = [user for user in sorted(feed.state.members) if user > after][: limit + 1]
        views = [MemberView(user=user, role=feed.state.members[user]) for user in chosen[:limit]]
        return _json(MemberList(members=views, more=len(chosen) > limit))

    async def _views(
        self, caller: Principal, chosen: list[ChannelId], known: dict[ChannelId, PublicChannel | None]
    ) -> list[ChannelView]:
        """Those of which the caller is a member are read from their feeds, the others from the directory."""
        mine = [ChannelKey(caller.workspace, channel) for channel in chosen if known[channel] is None]
        feeds = await self._node.feeds.activate(mine)
        markers = await self._node.reads.markers(caller.workspace, caller.user, [key.channel for key in mine])
        views: list[ChannelView] = []
        for channel in chosen:
            public = known[channel]
            feed = feeds.get(ChannelKey(caller.workspace, channel))
            if public is not None:
                views.append(_listed(public))
            elif feed is not None and caller.user in feed.state.members:
                info = describe(feed, caller, markers.get(channel))
                views.append(ChannelView(**info.model_dump(), member=True))
            elif feed is not None and feed.state.kind == "public":
                views.append(_outside(feed).model_copy(update={"epoch": None, "head": None}))
        return views


def _listed(public: PublicChannel) -> ChannelView:
    return ChannelView(
        id=public.channel,
        kind="public",
        name=public.name,
        topic=public.topic,
        archived=public.archived,
        members=public.members,
        member=False,
    )


def _outside(feed: Feed) -> ChannelView:
    """A public channel as somebody sees it who is no member."""
    return ChannelView(
        id=feed.key.channel,
        kind=feed.state.kind,
        name=feed.state.name,
        topic=feed.state.topic,
        archived=feed.state.archived,
        members=len(feed.state.members),
        member=False,
        epoch=feed.epoch,
        head=feed.head,
    )


def _after(request: Request) -> str:
    given = request.query_params.get("after")
    if given is None:
        return ""
    try:
        return channel_id(given)
    except InvalidId as error:
        raise BadRequest(f"after: {error.message}") from error


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(exclude_none=True), media_type=JSON)
