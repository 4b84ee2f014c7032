"""One client's side of the protocol, without I/O: frames in, frames out, answers and updates for the caller.

    offline ──hello──▶ greeting ──welcome──▶ open
       ▲                  │                    │
       └───────lost───────┴────────────────────┘

Only `hello` is sent before `welcome`. It carries a cursor for every channel; then the outbox goes on
with what is unanswered. Nothing that must arrive depends on one connection: commands stay in the outbox
until they are answered, cursors move only over events that were passed on, read marks are repeated until
the server has confirmed them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import orjson

from shared.client import wire
from shared.client.errors import from_frame
from shared.client.outbox import Outbox
from shared.client.session import Frame, Session
from shared.client.updates import Ack, Online, ReadMoved, Typing
from shared.clock import parse_rfc3339
from shared.errors import ParleyError
from shared.ids import ChannelId, CommandId, Seq

Answer = Ack | ParleyError
_PONG = b'{"type":"pong"}'


class Exchange:
    """Everything that the client decides. Times are the caller's monotonic seconds."""

    def __init__(self, session: Session, outbox: Outbox, *, name: str) -> None:
        self.session = session
        self.outbox = outbox
        self.open = False
        self.heartbeat_s = 25.0
        self.limits: wire.Limits | None = None
        self.expires_at: str | None = None
        self.channels: dict[ChannelId, wire.ChannelInfo] = {}
        self.answers: list[tuple[str, Answer]] = []
        self.bye: wire.ByeFrame | None = None
        self.refusal: ParleyError | None = None
        """The newest error that names no command of ours."""
        self._name = name
        self._control: list[bytes] = []
        self._reads: dict[ChannelId, Seq] = {}
        self._server_ms_at_0: float | None = None
        self._handlers: dict[str, Callable[[Frame, float], None]] = {
            "welcome": self._on_welcome,
            "channels": self._on_channels,
            "channel": self._on_channel,
            "ack": self._on_ack,
            "error": self._on_error,
            "resumed": lambda frame, _: self.session.resumed(cast(wire.ResumedFrame, frame)),
            "reset": lambda frame, _: self.session.reset(cast(wire.ResetFrame, frame)),
            "ping": self._on_ping,
            "refreshed": self._on_refreshed,
            "typing": self._on_typing,
            "read": self._on_read,
            "bye": self._on_bye,
        }

    # ------------------------------------------------------------ out

    def hello(self, token: str) -> bytes:
        """The first frame of a new connection."""
        self.bye = None
        self._control.clear()
        cursors = self.session.hello_cursors()
        hello = {"type": "hello", "token": token, "client": self._name, "batch": True, "cursors": cursors}
        return orjson.dumps(hello)

    def outgoing(self, now_s: float) -> list[bytes]:
        """The frames to send now."""
        if not self.open:
            return []
        frames, self._control = self._control, []
        frames += [orjson.dumps(frame) for frame in self.session.take_frames()]
        frames += [entry.body for entry in self.outbox.take(now_s)]
        return frames

    @property
    def due(self) -> bool:
        """Whether `outgoing` may have something."""
        return self.open and (self.outbox.ready or self.session.asking or bool(self._control))

    def next_at_s(self) -> float | None:
        """When `outgoing` has something although nothing came in, None if never."""
        return self.outbox.next_at_s() if self.open else None

    def post(self, frame: Frame) -> None:
        """Send a frame that is worth nothing later (`typing`, `refresh`); dropped when not open."""
        if self.open:
            self._control.append(orjson.dumps(frame))

    def mark_read(self, channel: ChannelId, seq: Seq) -> None:
        """Say that the user has read up to `seq`, until the server has heard it (P15)."""
        self._reads[channel] = max(seq, self._reads.get(channel, Seq(0)))
        self.post({"type": "read", "channel": channel, "seq": self._reads[channel]})

    def server_ms(self, now_s: float) -> int | None:
        """The server's time, None before the first welcome."""
        return None if self._server_ms_at_0 is None else int(self._server_ms_at_0 + now_s * 1000)

    # ------------------------------------------------------------ in

    def receive(self, raw: bytes, now_s: float) -> None:
        """One WebSocket message: a frame or an array of them (P1). Raises ValueError on anything else."""
        value = orjson.loads(raw)
        for frame in value if type(value) is list else (value,):
            if frame["type"] == "event":
                self.session.event(frame)
            else:
                self._receive(frame, now_s)

    def lost(self) -> None:
        """The connection is gone."""
        self.open = False
        self.outbox.disconnected()

    def _receive(self, frame: Frame, now_s: float) -> None:
        handler = self._handlers.get(cast(str, frame["type"]))
        if handler is not None:  # an unknown type belongs to a newer server (P1)
            handler(frame, now_s)

    def _on_welcome(self, raw: Frame, now_s: float) -> None:
        frame = cast(wire.WelcomeFrame, raw)
        self.open = True
        self.heartbeat_s = frame["heartbeat_s"]
        self.limits = frame["limits"]
        self.expires_at = frame["expires_at"]
        self.channels.clear()
        self._note_time(frame["server_time"], now_s)
        self.session.updates.append(Online(frame["session"], frame["node"], frame["user"]))
        self.outbox.in_flight_max = max(1, min(self.outbox.in_flight_max, self.limits["commands_in_flight"]))
        self._announce(frame["channels"])
        for channel, seq in self._reads.items():
            self.post({"type": "read", "channel": channel, "seq": seq})

    def _on_channels(self, raw: Frame, _: float) -> None:
        self._announce(cast(wire.ChannelsFrame, raw)["channels"])

    def _announce(self, channels: list[wire.ChannelInfo]) -> None:
        self.channels.update((info["id"], info) for info in channels)
        self.session.welcome(channels)

    def _on_channel(self, raw: Frame, _: float) -> None:
        frame = cast(wire.ChannelFrame, raw)
        if frame["member"]:
            self.channels[frame["channel"]["id"]] = frame["channel"]
        else:
            self.channels.pop(frame["channel"]["id"], None)
        self.session.membership(frame)

    def _on_ack(self, raw: Frame, _: float) -> None:
        frame = cast(wire.AckFrame, raw)
        command = frame["id"]
        if self.outbox.answered(command):
            ack = Ack(command, frame["channel"], frame["seq"], frame["ts"], frame["duplicate"])
            self.answers.append((command, ack))

    def _on_error(self, raw: Frame, now_s: float) -> None:
        frame = cast(wire.ErrorFrame, raw)
        error = from_frame(frame)
        command = frame.get("id")
        if command is None:
            self.refusal = error
        elif error.retryable:
            wait_ms = error.retry_after_ms
            self.outbox.postpone(CommandId(command), now_s, None if wait_ms is None else wait_ms / 1000)
        elif self.outbox.answered(command):
            self.answers.append((command, error))
        else:
            self.refusal = error

    def _on_ping(self, raw: Frame, now_s: float) -> None:
        frame = cast(wire.PingFrame, raw)
        self._control.append(_PONG)
        self._note_time(frame["server_time"], now_s)
        self.session.ping(frame["heads"])

    def _on_refreshed(self, raw: Frame, _: float) -> None:
        self.expires_at = cast(wire.RefreshedFrame, raw)["expires_at"]

    def _on_typing(self, raw: Frame, _: float) -> None:
        frame = cast(wire.TypingFrame, raw)
        self.session.updates.append(Typing(frame["channel"], frame["user"]))

    def _on_read(self, raw: Frame, _: float) -> None:
        frame = cast(wire.ReadFrame, raw)
        channel = frame["channel"]
        if frame["seq"] >= self._reads.get(channel, Seq(0)):
            self._reads.pop(channel, None)
        self.session.updates.append(ReadMoved(channel, frame["seq"], frame["unread"]))

    def _on_bye(self, raw: Frame, _: float) -> None:
        self.bye = cast(wire.ByeFrame, raw)

    def _note_time(self, server_time: str, now_s: float) -> None:
        self._server_ms_at_0 = parse_rfc3339(server_time) / 1000 - now_s * 1000
