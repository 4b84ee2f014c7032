"""One WebSocket connection from the accepted upgrade to its end: hello, life, close (P5 to P10).

What a client says is read here and answered by `Dialogue`; events do not pass through either, feeds write
them through `Delivery`. Times are seconds of the loop's clock.
"""

from __future__ import annotations

import asyncio
import secrets

import structlog
from pydantic import BaseModel

from edge import metrics
from edge.auth import TokenExpired
from edge.core import codec, wire_errors
from edge.core import frames as f
from edge.core import server_frames as s
from edge.core.principal import Principal
from edge.core.session import Session
from edge.core.wire_errors import CloseCode
from edge.delivery import Delivery
from edge.dialogue import Dialogue, expiry, on_loop_clock, ping
from edge.intake import Intake
from edge.node import Node
from edge.reads import unread
from edge.roster import Roster
from edge.websocket import EdgeProtocol
from shared.bus import BusError
from shared.clock import now_us, rfc3339
from shared.errors import BadRequest, ParleyError, Unauthorized, Unavailable
from shared.ids import ChannelKey
from shared.records import Belonging, ReadMarker

HEADS_OF_PING = 50
RETRY_AFTER_MS = 1000

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
        self._name = secrets.token_hex(8)
        self._principal: Principal | None = None
        self._delivery: Delivery | None = None
        self._roster: Roster | None = None
        self._dialogue: Dialogue | None = None

    @property
    def events(self) -> int:
        """How many events were written to the session so far."""
        return self._delivery.events if self._delivery is not None else 0

    @property
    def channels(self) -> int:
        """How many channels the session is attached to."""
        return len(self._delivery) if self._delivery is not None else 0

    async def run(self) -> None:
        """Returns when the connection is over."""
        self.wire.listener = self
        try:
            async with asyncio.TaskGroup() as group:
                await self._converse(group)
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

    def lost(self) -> None:
        """The descriptor goes back to the kernel."""
        if self._delivery is not None:
            self._delivery.lost()

    def tick(self, now_s: float) -> None:
        """Once a second: what time demands (P8, P9)."""
        verdict = self._session.verdict(now_s)
        if verdict is not None:
            self.close(verdict)
        elif self._delivery is not None and self._session.ping_due(now_s):
            self._delivery.send(ping(self._delivery.heads(HEADS_OF_PING)))

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

    async def _converse(self, group: asyncio.TaskGroup) -> None:
        first = await self.wire.receive()
        if first is None:
            return
        hello = self._hello(first)
        if hello is None or not await self._open(hello, group):
            return
        assert self._dialogue is not None
        intake = Intake(self.wire, self._session, self._dialogue, spawn=group.create_task)
        try:
            # What came behind the hello waits already; then frames are taken where they are read.
            while self.wire.is_queueing and (text := await self.wire.receive()) is not None:
                intake.take(text)
            self.wire.take = intake.take
            if await self.wire.receive() is not None:
                raise AssertionError("frames do not come this way any more")
        finally:
            self.wire.take = None
            self._dialogue.close()

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
        self._session.opened(self._loop.time(), on_loop_clock(principal.expires_s))
        delivery = Delivery(
            self.wire,
            principal.user,
            batch=hello.batch,
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
            rush=node.rush,
            page=node.settings.channels_page,
            channels_max=node.settings.subscriptions_max,
        )
        self._delivery, self._roster = delivery, roster
        self._dialogue = Dialogue(
            node,
            self.wire,
            self._session,
            roster,
            principal,
            spawn=group.create_task,
        )
        for channel, cursor in hello.cursors.items():
            roster.resume(channel, cursor)
        with node.rush.opening():
            return await self._welcomed(principal, delivery, roster, group)

    async def _welcomed(
        self, principal: Principal, delivery: Delivery, roster: Roster, group: asyncio.TaskGroup
    ) -> bool:
        """Attach the first page of channels and say welcome, in one step; the rest follows in tasks."""
        node = self._node
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
        _log.debug("connection.opened", session=self._name, channels=len(infos))
        return True

    def _welcome(self, principal: Principal, infos: list[s.ChannelInfo], *, more: bool) -> s.Welcome:
        settings = self._node.settings
        return s.Welcome(
            session=self._name,
            node=self._node.name,
            user=principal.user,
            workspace=principal.workspace,
            server_time=rfc3339(now_us()),
            expires_at=expiry(principal),
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

    # ------------------------------------------------------------ the end

    def _write(self, frame: BaseModel) -> None:
        self.wire.write(codec.text_frame(codec.encode(frame)))

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
            commands=self._dialogue.commands if self._dialogue is not None else 0,
            events=self.events,
        )
