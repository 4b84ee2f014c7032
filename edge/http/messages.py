"""A channel's messages and threads over HTTP: each as it is now, with what later events made of it (P22)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core.fields import INTEGER_MAX
from edge.http.asked import Asked, asked_of
from edge.http.caller import principal, visible_feed
from edge.node import Node
from shared.clock import rfc3339
from shared.errors import BadRequest, NotFound
from shared.events import Imported
from shared.ids import ChannelId, CommandId, Epoch, Seq, UserId
from shared.message_records import Message, MessagesPage, Reaction, Replies

JSON = "application/json"


class EditView(BaseModel):
    """The newest edit: the number of its event, and when."""

    seq: Seq
    ts: str


class DeletionView(BaseModel):
    """The event that deleted the message, when, and who did."""

    seq: Seq
    ts: str
    by: UserId


class MessageView(BaseModel):
    """A message as it is now.

    `text` is the newest edit's, and missing if the message was deleted or erased; then there are no reactions
    either. `reactions`: the most frequent first, 50 at most (`more_reactions`: there are more), with exact
    counts and up to 100 users each, by name. `replies` counts those that were not deleted.
    """

    seq: Seq
    ts: str
    id: CommandId
    author: UserId
    text: str | None = None
    thread: Seq | None = None
    imported: Imported | None = None
    edited: EditView | None = None
    deleted: DeletionView | None = None
    erased: Literal[True] | None = None
    reactions: list[Reaction]
    more_reactions: Literal[True] | None = None
    replies: Replies | None = None


class MessagePage(BaseModel):
    """Messages of a channel in ascending order, each after all events up to the number `upto`.

    `more`: there are more in the direction that was asked for; the other two say it for each. A page holds
    512 KiB at most, so it may hold fewer messages than were asked for. `root` is there for a thread.
    """

    channel: ChannelId
    epoch: Epoch
    upto: Seq
    more: bool
    more_before: bool
    more_after: bool
    root: MessageView | None = None
    messages: list[MessageView]


class MessageRoutes:
    """The endpoints, bound to a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.routes = [
            Route("/v1/channels/{channel}/messages", self.messages, methods=["GET"]),
            Route("/v1/channels/{channel}/threads/{seq}", self.thread, methods=["GET"]),
        ]

    async def messages(self, request: Request) -> Response:
        """`limit` messages before, after or around a seq; without any of them the newest."""
        return await self._page(request, None)

    async def thread(self, request: Request) -> Response:
        """A message and a page of the replies to it."""
        given = request.path_params["seq"]
        is_number = given.isascii() and given.isdecimal() and len(given) <= len(str(INTEGER_MAX))
        if not is_number or not 1 <= int(given) <= INTEGER_MAX:
            raise BadRequest(f"a thread is the number of a message: an integer from 1 to {INTEGER_MAX}")
        return await self._page(request, Seq(int(given)))

    async def _page(self, request: Request, thread: Seq | None) -> Response:
        caller = principal(self._node, request)
        asked = asked_of(request)
        feed = await visible_feed(self._node, request, caller)
        page = await self._node.archive.messages(
            feed.key, **asked._asdict(), thread=thread, applied=feed.stream_seq
        )
        if thread is not None and page.root is None:
            raise NotFound(f"no message {thread} in channel {feed.key.channel}")
        view = _view(feed.key.channel, feed.epoch, asked, page)
        return Response(view.model_dump_json(exclude_none=True), media_type=JSON)


def _view(channel: ChannelId, epoch: Epoch, asked: Asked, page: MessagesPage) -> MessagePage:
    return MessagePage(
        channel=channel,
        epoch=epoch,
        upto=page.upto,
        **asked.more(page.more_before, page.more_after),
        root=None if page.root is None else _message(page.root),
        messages=[_message(message) for message in page.messages],
    )


def _message(message: Message) -> MessageView:
    edited, deleted = message.edited, message.deleted
    return MessageView(
        seq=message.seq,
        ts=rfc3339(message.at_us),
        id=message.id,
        author=message.author,
        text=message.text,
        thread=message.thread,
        imported=message.imported,
        edited=None if edited is None else EditView(seq=edited.seq, ts=rfc3339(edited.at_us)),
        deleted=None
        if deleted is None
        else DeletionView(seq=deleted.seq, ts=rfc3339(deleted.at_us), by=deleted.by),
        erased=True if message.erased else None,
        reactions=list(message.reactions),
        more_reactions=True if message.more_reactions else None,
        replies=message.replies,
    )
