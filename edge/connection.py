"""One WebSocket connection: hello, commands, answers, and the end (P5 to P18).

The endpoint reads frames one by one. Cheap ones are answered on the spot; commands go into lanes, which keep
the order within a channel (P13). Events do not pass through here: feeds write them through `Delivery`.
Times are seconds of the loop's clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any
from uuid import uuid4

import structlog
from pydantic import BaseModel

from edge import metrics
from edge.auth import TokenExpired
from edge.commands import Prepared
from edge.core import actions, codec, wire_errors
from edge.core import frames as f
from edge.core import server_frames as s
from edge.core.limits import Bucket, Rate, take_all
from edge.core.order import Order
from edge.core.principal import Principal
from edge.core.session import Session, State
from edge.core.wire_errors import CloseCode
from edge.delivery import Delivery
from edge.lanes import Lanes, Step
from edge.node import Node
from edge.reads import unread
from edge.roster import Roster
from edge.users import UserKey
from edge.websocket import EdgeProtocol
from shared import telemetry
from shared.bus import BusError
from shared.clock import now_us, rfc3339
from shared.errors import BadRequest, ParleyError, Unauthorized, Unavailable
from shared.ids import ChannelId, ChannelKey
from shared.records import Belonging, ReadMarker

HEADS_OF_PING = 50
RETRY_AFTER_MS = 1000
_NEW_CHANNEL = ChannelId("")
"""The lane of creations, which are about no channel yet."""

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_Command = f.WritingCommand | f.ReadCommand
_log = structlog.get_logger()


class _Ended(Exception):
    """The conversation is over: ends the task group."""


class Connection:
    """From the accepted upgrade to the lost connection. Listens to its socket and to its user."""

    def __init__(self, node: Node, wire: EdgeProtocol, header_token: str | None) -> None:
        self.wire = wire
        self._node = node
        self._header_token = header_token
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._session = Session(self._began_s, node.timing)
        self._name = uuid4().hex[:16]
        self._principal: Principal | None = None
        self._delivery: Delivery | None = None
        self._roster: Roster | None = None
        self._order = Order()
        self._commands = 0
        self._bucket = Bucket(
            "connection",
            Rate(node.settings.connection_rate, node.settings.connection_burst),
            at_s=self._began_s,
        )

    async def run(self, receive: Receive) -> None:
        """Returns when the connection is over."""
        self.wire.listener = self
        try:
            async with asyncio.TaskGroup() as group:
                await self._converse(receive, group)
                raise _Ended
        except* _Ended:
            pass
        except* Exception as errors:  # noqa: BLE001  # the task boundary of a session
            _log.error("connection.failed", session=self._name, exc_info=errors)
            self.wire.close_with(wire_errors.INTERNAL, RETRY_AFTER_MS)
        finally:
            await self._leave()

    # ------------------------------------------------------------ called by the socket and the node

    def heard(self) -> None:
        """Bytes arrived."""
        self._session.heard(self._loop.time())

    def stalled(self) -> None:
        """The kernel takes no more."""
        self._session.stalled(self._loop.time())

    def flowing(self) -> None:
        """The kernel has taken everything."""
        self._session.flowing()
        if self._delivery is not None:
            self._delivery.flowing()

    def tick(self, now_s: float) -> None:
        """Once a second: what time demands (P8, P9)."""
        verdict = self._session.verdict(now_s)
        if verdict is not None:
            self.close(verdict)
        elif self._delivery is not None and self._session.ping_due(now_s):
            self._delivery.send(self._ping(self._delivery.heads(HEADS_OF_PING)))

    def close(self, code: CloseCode, retry_after_ms: int | None = None) -> None:
        """End the session with `bye` (P10)."""
        self._session.closing()
        self.wire.close_with(code, retry_after_ms)

    # ------------------------------------------------------------ called for the user

    def on_membership(self, belonging: Belonging) -> None:
        """The user became a member of a channel."""
        if self._roster is not None:
            self._roster.hint(belonging)

    def on_read(self, marker: ReadMarker) -> None:
        """The user has read, on this session or another (P15)."""
        assert self._principal is not None
        key = ChannelKey(self._principal.workspace, marker.channel)
        feed = self._node.feeds.get(key)
        if self._delivery is not None and key in self._delivery and feed is not None:
            self._delivery.send(s.Read(channel=marker.channel, seq=marker.seq, unread=unread(feed, marker)))

    def on_revoked(self) -> None:
        """The user's sessions end now (P9)."""
        self.close(wire_errors.REVOKED)

    # ------------------------------------------------------------ hello

    async def _converse(self, receive: Receive, group: asyncio.TaskGroup) -> None:
        first = await _text(receive)
        if first is None:
            return
        hello = self._hello(first)
        if hello is None or not await self._open(hello, group):
            return
        lanes: Lanes[_Command] = Lanes(
            self._work,
            in_flight_max=self._node.settings.commands_in_flight,
            spawn=lambda work: _spawn(group, work),
        )
        while (text := await _text(receive)) is not None:
            if self._session.state is State.OPEN:
                await self._on_text(text, lanes)

    def _hello(self, text: str) -> f.Hello | None:
        """The hello, with its principal accepted; None if the connection was closed instead."""
        try:
            hello = codec.parse(text)
        except ParleyError as error:
            self._refuse_session(error, wire_errors.BAD_HELLO)
            return None
        if not isinstance(hello, f.Hello) or hello.version != f.PROTOCOL_VERSION:
            wrong = BadRequest(f"the first frame must be a hello of protocol version {f.PROTOCOL_VERSION}")
            self._refuse_session(wrong, wire_errors.BAD_HELLO)
            return None
        token = hello.token or self._header_token
        try:
            if token is None:
                raise Unauthorized("a token is needed, in hello or in the Authorization header")
            self._principal = self._node.auth.verify(token)
        except TokenExpired as error:
            self._refuse_session(error, wire_errors.TOKEN_EXPIRED)
            return None
        except Unauthorized as error:
            self._refuse_session(error, wire_errors.UNAUTHORIZED)
            return None
        return hello

    def _refuse_session(self, error: ParleyError, code: CloseCode) -> None:
        self._write(codec.refusal(error))
        self.close(code)

    async def _open(self, hello: f.Hello, group: asyncio.TaskGroup) -> bool:
        """Attach the user's channels and say welcome; whether that worked."""
        principal, node = self._principal, self._node
        assert principal is not None
        self._session.opened(self._loop.time(), self._on_loop_clock(principal.expires_s))
        delivery = Delivery(
            self.wire,
            principal.user,
            batch=hello.batch,
            fanout=node.fanout,
            replayer=node.replayer,
            replay_events_max=node.settings.replay_events_max,
            on_lost=lambda key: roster.lost(key),  # noqa: PLW0108  # the roster comes next
        )
        roster = Roster(
            principal,
            delivery,
            directory=node.directory,
            feeds=node.feeds,
            reads=node.reads,
            page=node.settings.channels_page,
            channels_max=node.settings.subscriptions_max,
        )
        self._delivery, self._roster = delivery, roster
        for channel, cursor in hello.cursors.items():
            roster.resume(channel, cursor)
        try:
            await node.users.listen(principal, self)
            pages = roster.pages()
            keys, more = await anext(pages)
            infos = await roster.attach(keys)
        except (Unavailable, BusError) as error:
            _log.warning("connection.not_opened", error=error.message)
            self._write(codec.refusal(Unavailable(error.message, retry_after_ms=RETRY_AFTER_MS)))
            self.close(wire_errors.OVERLOADED, RETRY_AFTER_MS)
            return False
        delivery.send(self._welcome(principal, infos, more=more))
        roster.resume_listed()
        group.create_task(delivery.run())
        group.create_task(roster.run(pages))
        metrics.SESSIONS_OPENED.inc()
        _log.info("connection.opened", session=self._name, channels=len(infos), cursors=len(hello.cursors))
        return True

    def _welcome(self, principal: Principal, infos: list[s.ChannelInfo], *, more: bool) -> s.Welcome:
        settings = self._node.settings
        return s.Welcome(
            session=self._name,
            node=self._node.name,
            user=principal.user,
            workspace=principal.workspace,
            server_time=rfc3339(now_us()),
            expires_at=_expiry(principal),
            heartbeat_s=settings.heartbeat_s,
            limits=s.Limits(
                frame_bytes=settings.frame_bytes_max,
                text_bytes=settings.text_bytes_max,
                cursors_per_frame=f.CURSORS_OF_FRAME_MAX,
                commands_per_s=settings.connection_rate,
                commands_burst=settings.connection_burst,
                commands_in_flight=settings.commands_in_flight,
                typing_members=settings.typing_members_max,
            ),
            channels=infos,
            more=more,
        )

    # ------------------------------------------------------------ frames

    async def _on_text(self, text: str, lanes: Lanes[_Command]) -> None:
        correlated: str | None = None
        try:
            raw = codec.read(text)
            correlated = codec.correlation(raw)
            await self._on_frame(codec.validate(raw), lanes)
        except ParleyError as error:
            metrics.COMMANDS.labels("invalid", error.code).inc()
            self._write(codec.refusal(error, correlated))

    async def _on_frame(self, frame: f.ClientFrame, lanes: Lanes[_Command]) -> None:
        """Answer on the spot, or queue. Raises `ParleyError` for what is refused here."""
        assert self._roster is not None
        match frame:
            case f.Pong():
                return
            case f.Hello():
                raise BadRequest("hello was said already")
            case f.Probe():
                self._write(self._ping({}, frame.id))
            case f.Refresh():
                self._refresh(frame)
            case f.Resume():
                self._take_token()
                for channel, cursor in frame.cursors.items():
                    self._roster.resume(channel, cursor)
            case f.TypingCommand():
                self._take_token()
                await self._type(frame)
            case f.CreateChannel():
                await self._queue(_NEW_CHANNEL, frame, lanes)
            case _:
                await self._queue(frame.channel, frame, lanes)

    async def _queue(self, channel: ChannelId, command: _Command, lanes: Lanes[_Command]) -> None:
        self._take_token()
        if lanes.is_full:  # the client's frames wait in its socket; its silence is ours
            self._session.held(self._loop.time(), held=True)
            await lanes.room()
            self._session.held(self._loop.time(), held=False)
        lanes.put(channel, command)

    def _take_token(self) -> None:
        """Raises `RateLimited`; imports are paced by the commands in flight alone."""
        principal = self._principal
        assert principal is not None
        if principal.may_import:
            return
        now_s = self._loop.time()
        user = self._node.user_buckets.of(UserKey(principal.workspace, principal.user), now_s)
        take_all(now_s, self._bucket, user)

    def _refresh(self, frame: f.Refresh) -> None:
        old = self._principal
        assert old is not None
        new = self._node.auth.verify(frame.token)
        if (new.user, new.workspace) != (old.user, old.workspace):
            raise Unauthorized("refresh needs a token of the same user and workspace")
        self._principal = new
        self._session.refreshed(self._on_loop_clock(new.expires_s))
        self._write(s.Refreshed(id=frame.id, expires_at=_expiry(new)))

    async def _type(self, frame: f.TypingCommand) -> None:
        principal = self._principal
        assert principal is not None
        feed = await self._node.commands.feed(ChannelKey(principal.workspace, frame.channel))
        await self._node.typing.announce(feed, principal)

    # ------------------------------------------------------------ commands

    async def _work(self, command: _Command) -> Step | None:
        """The first step of a command, in its lane."""
        assert self._principal is not None
        began_s = self._loop.time()
        try:
            if isinstance(command, f.ReadCommand):
                await self._read(command)
                return None
            self._order.check(_lane(command), command.id, began_s)
            with telemetry.root_span(f"command.{command.type}"):
                prepared = await self._node.commands.prepare(self._principal, command)
        except ParleyError as error:
            self._refuse(command, error)
            return None
        overlaps = self._node.commands.is_late(prepared)
        return Step(self._record(command, prepared, began_s), overlaps=overlaps)

    async def _record(self, command: f.WritingCommand, prepared: Prepared, began_s: float) -> None:
        try:
            ack = await self._node.commands.record(prepared)
        except ParleyError as error:
            self._refuse(command, error)
            return
        self._commands += 1
        self._write(ack)
        if prepared.feed is not None:
            self._node.typing.recorded(prepared.feed, prepared.event)
        metrics.COMMANDS.labels(command.type, "duplicate" if ack.duplicate else "recorded").inc()
        metrics.COMMAND_SECONDS.labels(command.type).observe(self._loop.time() - began_s)

    async def _read(self, command: f.ReadCommand) -> None:
        principal = self._principal
        assert principal is not None
        feed = await self._node.commands.feed(ChannelKey(principal.workspace, command.channel))
        actions.member(feed.state, principal)
        marker = await self._node.reads.mark(feed, principal.user, command.seq)
        await self._node.users.tell_read(principal.workspace, principal.user, marker)

    def _refuse(self, command: _Command, error: ParleyError) -> None:
        metrics.COMMANDS.labels(command.type, error.code).inc()
        if isinstance(command, f.Writing):
            self._order.refused(_lane(command), command.id, error, self._loop.time())
        self._write(codec.refusal(error, command.id))

    # ------------------------------------------------------------ small things

    def _ping(self, heads: dict[ChannelId, Any], correlated: str | None = None) -> s.Ping:
        return s.Ping(id=correlated, heads=heads, server_time=rfc3339(now_us()))

    def _write(self, frame: BaseModel) -> None:
        self.wire.write(codec.text_frame(codec.encode(frame)))

    def _on_loop_clock(self, unix_s: float | None) -> float | None:
        return None if unix_s is None else self._loop.time() + unix_s - time.time()

    async def _leave(self) -> None:
        self._session.closing()
        self.wire.listener = None
        if self._delivery is not None:
            self._delivery.close()
        if self._principal is not None:
            await self._node.users.unlisten(self._principal, self)
        code = self.wire.closed_with or 0
        metrics.SESSIONS_CLOSED.labels(str(code)).inc()
        _log.info(
            "connection.closed",
            session=self._name,
            code=code,
            seconds=round(self._loop.time() - self._began_s, 3),
            commands=self._commands,
            events=self._delivery.events if self._delivery is not None else 0,
            bytes=self.wire.bytes_written,
        )


def _lane(command: f.Writing) -> ChannelId:
    return command.channel if isinstance(command, f.InChannel) else _NEW_CHANNEL


def _expiry(principal: Principal) -> str | None:
    return None if principal.expires_s is None else rfc3339(int(principal.expires_s * 1_000_000))


def _spawn(group: asyncio.TaskGroup, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    return group.create_task(work)


async def _text(receive: Receive) -> str | None:
    """The next text frame; None when the connection is over. A binary frame reads as its bytes' text."""
    message = await receive()
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    if text is not None:
        return str(text)
    return bytes(message.get("bytes") or b"").decode(errors="replace")
