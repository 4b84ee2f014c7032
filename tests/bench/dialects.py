"""How a client becomes a listener of each kind of server: the words that they exchange, without I/O.

Every dialect begins with a WebSocket upgrade. `opened` is what the client says then, `heard` what it answers
to each text frame, until it has `joined`; from there on it is sent whatever is published.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from tests.bench.frames import TEXT, masked_frame


class Dialect:
    """The shortest one: who is upgraded has joined. The others say more."""

    path = "/"
    pong = b""
    """The frame that answers a heartbeat which comes as text; empty where the server sends none."""

    def __init__(self) -> None:
        self.joined = False

    def opened(self) -> bytes:
        """What to write after the upgrade."""
        self.joined = True
        return b""

    def heard(self, payload: bytes) -> bytes:
        """What to write in answer to a text frame. Raises ValueError if the server refuses."""
        raise ValueError(f"unexpected: {payload[:200]!r}")


class Parley(Dialect):
    """A session as the SDK opens it, with batches; joined when `welcome` lists the channel."""

    path = "/v1/ws"
    pong = masked_frame(TEXT, b'{"type":"pong"}')

    def __init__(self, token: str, channel: str) -> None:
        super().__init__()
        self._token = token
        self._channel = channel

    def opened(self) -> bytes:
        return _text({"type": "hello", "token": self._token, "client": "fan-out", "batch": True})

    def heard(self, payload: bytes) -> bytes:
        frame = orjson.loads(payload)
        match frame["type"]:
            case "welcome" | "channels":
                self.joined |= any(info["id"] == self._channel for info in frame["channels"])
            case "channel":
                self.joined |= frame["member"] and frame["channel"]["id"] == self._channel
            case "ping":
                return self.pong
            case "error" | "bye":
                raise ValueError(f"refused: {payload.decode()[:200]}")
        return b""


class Centrifugo(Dialect):
    """Protocol v2 in JSON: connect, then subscribe to one channel."""

    path = "/connection/websocket"
    channel = "fan-out"

    def opened(self) -> bytes:
        return _text({"id": 1, "connect": {}})

    def heard(self, payload: bytes) -> bytes:
        answer = b""
        for line in payload.splitlines():
            reply = orjson.loads(line)
            if "error" in reply:
                raise ValueError(f"refused: {line.decode()[:200]}")
            if reply.get("id") == 1:
                answer += _text({"id": 2, "subscribe": {"channel": self.channel}})
            self.joined |= reply.get("id") == 2
        return answer


class SocketIo(Dialect):
    """Engine.IO 4 straight over a WebSocket: `0` opens, `40` joins the namespace, `44` refuses."""

    path = "/socket.io/?EIO=4&transport=websocket"

    def opened(self) -> bytes:
        return b""

    def heard(self, payload: bytes) -> bytes:
        if payload.startswith(b"0{"):
            return masked_frame(TEXT, b"40")
        if not payload.startswith(b"40"):
            raise ValueError(f"refused: {payload.decode()[:200]}")
        self.joined = True
        return b""


DIALECTS: dict[str, Callable[..., Dialect]] = {
    "plain": Dialect,
    "parley": Parley,
    "centrifugo": Centrifugo,
    "socket.io": SocketIo,
}


def _text(frame: dict[str, object]) -> bytes:
    return masked_frame(TEXT, orjson.dumps(frame))
