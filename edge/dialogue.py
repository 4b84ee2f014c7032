"""What a client says in an open session, and what it is answered (P11 to P18).

Cheap frames are answered on the spot; commands go into lanes, which keep the order within a channel (P13).
Every refusal is one `error` frame that repeats the command's id; none ends the session.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from pydantic import BaseModel

from edge import metrics
from edge.commands import Prepared
from edge.core import actions, codec
from edge.core import frames as f
from edge.core import server_frames as s
from edge.core.limits import Bucket, Rate, take_all
from edge.core.order import Order
from edge.core.principal import Principal
from edge.core.recording import Recording
from edge.core.session import Session
from edge.lanes import Lanes, Over, Spawn, Started
from edge.node import Node
from edge.roster import Roster
from edge.users import UserKey
from edge.websocket import EdgeProtocol
from shared import telemetry
from shared.clock import now_us, rfc3339
from shared.errors import BadRequest, ParleyError, Unauthorized
from shared.ids import ChannelId, ChannelKey

_NEW_CHANNEL = ChannelId("")
"""The lane of creations, which are about no channel yet."""

OUTBOX_BYTES_MAX = 256 * 1024
"""Answers that a client has not read; beyond them the session stops reading as well (AT-66)."""

_Command = f.WritingCommand | f.ReadCommand | f.TypingCommand
_NOTES = (f.ReadCommand, f.TypingCommand)


class Dialogue:
    """The frames of one session. Times are seconds of the loop's clock."""

    __slots__ = (
        *("_bucket", "_lanes", "_loop", "_node", "_order", "_roster", "_session", "_wire"),
        *("commands", "principal"),
    )

    def __init__(
        self,
        node: Node,
        wire: EdgeProtocol,
        session: Session,
        roster: Roster,
        principal: Principal,
        *,
        spawn: Spawn,
    ) -> None:
        self.principal = principal
        self.commands = 0
        self._node = node
        self._wire = wire
        self._session = session
        self._roster = roster
        self._loop = asyncio.get_running_loop()
        self._order = Order()
        self._lanes: Lanes[_Command] = Lanes(
            self._work, in_flight_max=node.settings.commands_in_flight, spawn=spawn
        )
        self._bucket: Bucket | None = None
        """Made for the first command: it starts full."""

    def close(self) -> None:
        """The session ends: what is queued is not begun any more."""
        self._lanes.close()

    @property
    def must_wait(self) -> bool:
        """Whether too much is at work, or unread by the client, to handle another frame."""
        return self._lanes.is_full or self._wire.buffered_bytes > OUTBOX_BYTES_MAX

    async def room(self) -> None:
        """Wait for what `must_wait` is about."""
        if self._lanes.is_full:
            await self._lanes.room()
        else:
            await self._wire.drained()

    def handle(self, text: str) -> None:
        """Answer a frame, or begin or queue its command. Not while `must_wait`."""
        correlated: str | None = None
        try:
            raw = codec.read(text)
            correlated = codec.correlation(raw)
            frame = codec.validate(raw)
            if isinstance(frame, f.Send):  # most frames
                self._lanes.put(frame.channel, frame)
            else:
                self._on_frame(frame)
        except ParleyError as error:
            metrics.commands("invalid", error.code).inc()
            self._write(codec.refusal(error, correlated))

    def _on_frame(self, frame: f.ClientFrame) -> None:
        """Answer on the spot, or queue. Raises `ParleyError` for what is refused here."""
        match frame:
            case f.Pong():
                return
            case f.Hello():
                raise BadRequest("hello was said already")
            case f.Probe():
                self._write(s.Ping(id=frame.id, heads={}, server_time=rfc3339(now_us())))
            case f.Refresh():
                self._refresh(frame)
            case f.Resume():
                self._take_token()
                for channel, cursor in frame.cursors.items():
                    self._roster.resume(channel, cursor)
            case f.CreateChannel():
                self._lanes.put(_NEW_CHANNEL, frame)
            case _:
                self._lanes.put(frame.channel, frame)

    def _take_token(self) -> None:
        """Raises `RateLimited`; imports and erasures are paced by the commands in flight alone."""
        principal = self.principal
        if principal.may_import or principal.may_erase:
            return
        now_s = self._loop.time()
        if self._bucket is None:
            settings = self._node.settings
            rate = Rate(settings.connection_rate, settings.connection_burst)
            self._bucket = Bucket("connection", rate, at_s=now_s)
        user = self._node.user_buckets.of(UserKey(principal.workspace, principal.user), now_s)
        take_all(now_s, self._bucket, user)

    def _refresh(self, frame: f.Refresh) -> None:
        old = self.principal
        new = self._node.auth.verify(frame.token)
        if (new.user, new.workspace) != (old.user, old.workspace):
            raise Unauthorized("refresh needs a token of the same user and workspace")
        self.principal = new
        self._session.refreshed(on_loop_clock(new.expires_s))
        self._write(s.Refreshed(id=frame.id, expires_at=expiry(new)))

    # ------------------------------------------------------------ commands

    def _work(self, command: _Command) -> Started:
        """Decide about a command that nothing stands in the way of any more."""
        began_s = self._loop.time()
        if isinstance(command, _NOTES):
            return partial(self._note, command)
        try:
            # Here rather than on arrival: a refusal holds what was sent behind it, not what is before it.
            if isinstance(command, f.InChannel):
                self._order.check(command.channel, command.id, began_s)
            self._take_token()
            prepared = self._node.commands.prepare_now(self.principal, command)
            if prepared is None or self._node.commands.needs_task(prepared):
                return partial(self._write_command, command, prepared, began_s)
            if self._node.commands.is_late(prepared):
                return self._record_late(command, prepared, began_s)
        except ParleyError as error:
            self._refuse(command, error)
            return None
        return partial(self._record_fresh, command, prepared, began_s)

    def _record_fresh(
        self, command: f.WritingCommand, prepared: Prepared, began_s: float, over: Over
    ) -> bool:
        """Make it durable, and answer it where the log's answer is read; whether it is over already."""
        span = telemetry.begin(f"command.{command.type}")

        def answer(outcome: Recording | ParleyError) -> None:
            if isinstance(outcome, ParleyError):
                telemetry.end(span, outcome)
                self._refuse(command, outcome)
            else:
                telemetry.end(span)
                self._recorded(command, prepared, outcome, began_s)
            over()

        try:
            self._node.commands.record_fresh(prepared, telemetry.headers(span), answer)
        except ParleyError as error:
            telemetry.end(span, error)
            self._refuse(command, error)
            return True
        return False

    def _record_late(
        self, command: f.WritingCommand, prepared: Prepared, began_s: float
    ) -> asyncio.Future[Recording]:
        """Hand it over; raises `Unavailable` if too many are."""
        span = telemetry.begin(f"command.{command.type}")
        late = self._node.commands.record_late(prepared, telemetry.headers(span))

        def answer(done: asyncio.Future[Recording]) -> None:
            error = done.exception()
            if isinstance(error, ParleyError):
                telemetry.end(span, error)
                self._refuse(command, error)
            else:
                telemetry.end(span)
                self._recorded(command, prepared, done.result(), began_s)

        late.add_done_callback(answer)
        return late

    async def _write_command(
        self, command: f.WritingCommand, prepared: Prepared | None, began_s: float, _: Over
    ) -> None:
        """Make a command durable, and answer it."""
        try:
            with telemetry.root_span(f"command.{command.type}"):
                if prepared is None:
                    prepared = await self._node.commands.prepare(self.principal, command)
                recording = await self._node.commands.record(prepared)
        except ParleyError as error:
            self._refuse(command, error)
            return
        self._recorded(command, prepared, recording, began_s)

    def _recorded(
        self, command: f.WritingCommand, prepared: Prepared, recording: Recording, began_s: float
    ) -> None:
        self.commands += 1
        seq, at_us, duplicate = recording
        ack = codec.ack(command.id, prepared.key.channel, seq, rfc3339(at_us), duplicate=duplicate)
        self._wire.write(codec.text_frame(ack))
        if prepared.feed is not None:
            self._node.typing.recorded(prepared.feed, prepared.event)
        metrics.commands(command.type, "duplicate" if duplicate else "recorded").inc()
        metrics.command_seconds(command.type).observe(self._loop.time() - began_s)

    async def _note(self, command: f.ReadCommand | f.TypingCommand, _: Over) -> None:
        """What stands in no log, and is answered only if it is refused."""
        principal = self.principal
        try:
            self._take_token()
            feed = await self._node.commands.feed(ChannelKey(principal.workspace, command.channel))
            if isinstance(command, f.TypingCommand):
                await self._node.typing.announce(feed, principal)
                return
            actions.member(feed.state, principal)
            marker = await self._node.reads.mark(feed, principal.user, command.seq)
            await self._node.users.tell_read(principal.workspace, principal.user, marker)
        except ParleyError as error:
            self._refuse(command, error)

    def _refuse(self, command: _Command, error: ParleyError) -> None:
        metrics.commands(command.type, error.code).inc()
        if isinstance(command, f.InChannel):
            self._order.refused(command.channel, command.id, error, self._loop.time())
        self._write(codec.refusal(error, command.id))

    def _write(self, frame: BaseModel) -> None:
        self._wire.write(codec.text_frame(codec.encode(frame)))


def expiry(principal: Principal) -> str | None:
    """When the token ends, for the client."""
    return None if principal.expires_s is None else rfc3339(int(principal.expires_s * 1_000_000))


def on_loop_clock(unix_s: float | None) -> float | None:
    """A wall-clock time in seconds, on the steady clock of the loop."""
    return None if unix_s is None else asyncio.get_running_loop().time() + unix_s - time.time()
