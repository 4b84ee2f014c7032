"""A reader that shares no code with the SDK: it checks what the protocol promises, frame by frame.

It keeps one cursor a channel, comes back with them after every loss of its connection, and writes down every
breach: a number that does not follow, a gap, a reset, an event of a channel that it left.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import websockets
from websockets.exceptions import InvalidHandshake, WebSocketException

WAIT_S = (0.05, 0.8)


class RawReader:
    """One user's reader. `ids[channel][seq]` is the id of the event with that number."""

    def __init__(self, urls: Sequence[str], token: str, rng: random.Random) -> None:
        self.ids: dict[str, dict[int, str]] = {}
        self.breaches: list[str] = []
        self.events = 0
        self.sessions = 0
        self._urls = urls
        self._token = token
        self._rng = rng
        self._epochs: dict[str, str] = {}
        self._last: dict[str, int] = {}

    def last(self, channel: str) -> int:
        """The number of the newest event that was seen."""
        return self._last.get(channel, 0)

    def follows(self, channel: str) -> bool:
        """Whether the server has said that this user is a member."""
        return channel in self._last

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            url = self._rng.choice(self._urls).replace("http://", "ws://") + "/v1/ws"
            try:
                async with websockets.connect(url, max_size=2**24, open_timeout=5, close_timeout=1) as socket:
                    cursors = {c: {"epoch": self._epochs[c], "seq": seq} for c, seq in self._last.items()}
                    hello = {"type": "hello", "token": self._token, "cursors": cursors}
                    await socket.send(json.dumps(hello))
                    async for text in socket:
                        answer = self._frame(json.loads(text))
                        if answer:
                            await socket.send(answer)
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake):
                pass
            await asyncio.sleep(self._rng.uniform(*WAIT_S))

    def _frame(self, frame: dict[str, Any]) -> str | None:
        match frame["type"]:
            case "welcome" | "channels":
                self.sessions += frame["type"] == "welcome"
                for info in frame["channels"]:
                    self._open(info)
            case "channel" if frame["member"]:
                self._open(frame["channel"])
            case "event":
                self._event(frame)
            case "resumed" if not frame["complete"]:
                self.breaches.append(f"{frame['channel']}: gap {frame.get('gap')}")
            case "reset":
                self.breaches.append(f"{frame['channel']}: reset {frame['reason']}")
            case "ping":
                return '{"type":"pong"}'
        return None

    def _open(self, info: dict[str, Any]) -> None:
        self._epochs.setdefault(info["id"], info["epoch"])
        self._last.setdefault(info["id"], info["head"])

    def _event(self, frame: dict[str, Any]) -> None:
        channel, seq = frame["channel"], frame["seq"]
        self.events += 1
        if seq != self._last.get(channel, -1) + 1:
            self.breaches.append(f"{channel}: {seq} after {self._last.get(channel)}")
        self._last[channel] = seq
        self.ids.setdefault(channel, {})[seq] = frame["id"]
