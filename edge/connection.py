"""One WebSocket connection from the accepted upgrade to its end: hello, life, close (P5 to P10).

What a client says is read here and answered by `Dialogue`; events do not pass through either, feeds write
them through `Delivery`. Times are seconds of the loop's clock.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import structlog
from pydantic import BaseModel

from edge import metrics
from edge.auth import TokenExpired
from edge.core import codec, wire_errors
from edge.core import frames as f
from edge.core.principal import Principal
from edge.core.session import Session
from edge.core.wire_errors import CloseCode
from edge.delivery import Delivery
from edge.dialogue import Dialogue, expiry, on_loop_clock
from edge.intake import Intake
from edge.listener import DEAF
from edge.node import Node
from edge.reads import read_frame
from edge.roster import Pages, Roster
from edge.tasks import Tasks
from edge.websocket import EdgeProtocol
from shared.bus import BusError
from shared.clock import now_us, rfc3339
from shared.errors import ParleyError, Unauthorized, Unavailable
from shared.ids import ChannelKey
from shared.records import Belonging, ReadMarker

HEADS_OF_PING = 50
RETRY_AFTER_MS = 1000

_log = structlog.get_logger()


class Connection:
    """From the accepted upgrade to the lost connection. Listens to its socket and to its user.

    Whoever is told `on_over` has to `leave`. In between there is a task only while something is waited for.
    """

    __slots__ = (
        *("_began_s", "_delivery", "_dialogue", "_header_token", "_loop", "_name", "_node", "_on_over"),
        *("_principal", "_roster", "_session", "_tasks", "wire"),
    )

    def __init__(
        self,
        node: Node,
        wire: EdgeProtocol,
        header_token: str | None,
        on_over: Callable[[Connection], None],
    ) -> None:
        self.wire = wire
        self._on_over = on_over
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
        self._tasks = Tasks(self._failed)
        wire.listener = self
        wire.take = self._take_hello

    @property
    def channels(self) -> int:
        """How many channels the session is attached to."""
        return len(self._delivery) if self._delivery is not None else 0

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

    def over(self) -> None:
        """No text comes any more."""
        self._on_over(self)

    def lost(self) -> None:
        """The descriptor goes back to the kernel."""
        if self._delivery is not None:
            self._delivery.lost()

    @property
    def owes_answer(self) -> bool:
        """Whether a ping was the last thing between the two sides."""
        return self._session.owes_answer

    def tick(self, now_s: float) -> float:
        """What time demands (P8, P9); the time of the next tick, in seconds of the loop's clock."""
        verdict = self._session.verdict(now_s)
        if verdict is not None:
            self.close(verdict)
        elif self._delivery is not None and self._session.ping_due(now_s):
            ping = codec.ping(self._delivery.heads(HEADS_OF_PING), rfc3339(now_us()))
            self.wire.write_now(codec.text_frame(ping))
        return self._session.due_s(now_s)

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
            self._delivery.send(read_frame(feed, marker))

    def on_revoked(self) -> None:
        """The user's sessions end now (P9)."""
        self.close(wire_errors.REVOKED)

    # ------------------------------------------------------------ hello

    def _take_hello(self, text: str) -> None:
        """The first frame; what comes behind it waits for the welcome."""
        self.wire.take = None
        self._session.greeted()
        self._tasks.spawn(self._open(text))

    async def _open(self, first: str) -> None:
        with self._node.rush.opening():
            await self._node.rush.turn()
            hello = self._hello(first)
            pages = await self._welcomed(hello) if hello is not None else None
        if pages is not None and self._roster is not None:
            self.wire.hand_over(self._take_first)
            await self._roster.finish_list(pages)

    def _take_first(self, text: str) -> None:
        """The first frame that says something: nearly all sessions only listen, for hours."""
        if text in codec.PONGS:
            return
        node, session, spawn = self._node, self._session, self._tasks.spawn
        assert self._roster is not None
        assert self._principal is not None
        self._dialogue = Dialogue(node, self.wire, session, self._roster, self._principal, spawn=spawn)
        self.wire.take = Intake(self.wire, session, self._dialogue, spawn=spawn).take
        self.wire.take(text)

    def _hello(self, text: str) -> f.Hello | None:
        """The hello, with its principal accepted; None if the connection was closed instead."""
        try:
            hello = codec.parse_hello(text)
        except ParleyError as error:
            self._refuse_session(error, wire_errors.BAD_HELLO)
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

    async def _welcomed(self, hello: f.Hello) -> Pages | None:
        """Attach the user's channels and say welcome; the rest of their list, None if that did not work."""
        principal, node, spawn = self._principal, self._node, self._tasks.spawn
        assert principal is not None
        self._session.opened(self._loop.time(), on_loop_clock(principal.expires_s))
        delivery = Delivery(
            self.wire,
            principal.user,
            batch=hello.batch,
            replayer=node.replayer,
            replay_events_max=node.settings.replay_events_max,
            on_lost=self._lose,
            spawn=spawn,
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
            spawn=spawn,
        )
        self._delivery, self._roster = delivery, roster
        roster.begin(hello.cursors)
        return await self._attached(principal, delivery, roster)

    async def _attached(self, principal: Principal, delivery: Delivery, roster: Roster) -> Pages | None:
        """Attach the first page of channels and say welcome, in one step; the other pages."""
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
            return None
        welcome = node.greeting.welcome(
            self._name,
            principal,
            infos,
            more=more,
            server_time=rfc3339(now_us()),
            expires_at=expiry(principal),
        )
        delivery.send(welcome)
        roster.resume_listed()
        metrics.SESSIONS_OPENED.inc()
        _log.debug("connection.opened", session=self._name, channels=len(infos))
        return pages

    def _write(self, frame: BaseModel) -> None:
        self.wire.write(codec.text_frame(codec.encode(frame)))

    def _lose(self, key: ChannelKey) -> None:
        assert self._roster is not None
        self._roster.lost(key)

    # ------------------------------------------------------------ the end

    def _failed(self, error: Exception) -> None:
        """The task boundary of a session: a bug ends it."""
        _log.error("connection.failed", session=self._name, exc_info=error)
        self.wire.close_with(wire_errors.INTERNAL, RETRY_AFTER_MS)

    async def leave(self) -> None:
        """Let go of everything; returns when no task of the session runs any more."""
        self._session.closing()
        self.wire.listener, self.wire.take = DEAF, None
        if self._dialogue is not None:
            self._dialogue.close()
        if self._roster is not None and self._delivery is not None:
            self._roster.close()
            self._delivery.close()
        await self._tasks.end()
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
            events=self._delivery.events if self._delivery is not None else 0,
        )
