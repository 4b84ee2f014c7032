"""A client that shares no code with the SDK. It reads, and writes down what came (`testimony`).

It keeps one cursor a channel and comes back with them after every loss of its connection. It judges nothing:
a number that does not follow is written down like any other; so is what the server itself says is missing.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.chaos.silence import Silences
from tests.chaos.testimony import Reading, Track

WAIT_S = (0.05, 0.8)
SILENT_HEARTBEATS_MAX = 1.5


class RawReader:
    """One user's reader."""

    def __init__(
        self, user: str, urls: Sequence[str], token: str, rng: random.Random, silences: Silences
    ) -> None:
        self.user = user
        self.reading = Reading(user)
        self.sessions = 0
        self._urls = urls
        self._token = token
        self._rng = rng
        self._silences = silences
        self._epochs: dict[str, str] = {}
        self._at_ping: dict[str, int] = {}
        self._heartbeat_s = 20.0

    def last(self, channel: str) -> int:
        """The number of the newest event that was seen."""
        track = self.reading.tracks.get(channel)
        return track.last if track is not None else 0

    def follows(self, channel: str) -> bool:
        """Whether the server has said that this user is a member."""
        return channel in self.reading.tracks

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            url = self._rng.choice(self._urls).replace("http://", "ws://") + "/v1/ws"
            try:
                async with websockets.connect(
                    url, max_size=2**24, open_timeout=5, close_timeout=1, ping_interval=None, compression=None
                ) as socket:
                    await self._session(socket)
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake):
                pass
            self.lost()
            await asyncio.sleep(self._rng.uniform(*WAIT_S))

    def lost(self) -> None:
        """The connection is gone."""

    async def _session(self, socket: ClientConnection) -> None:
        """Until it ends, or says nothing for one and a half heartbeats (P8)."""
        tracks = self.reading.tracks
        cursors = {channel: {"epoch": self._epochs[channel], "seq": t.last} for channel, t in tracks.items()}
        await socket.send(json.dumps({"type": "hello", "token": self._token, "cursors": cursors}))
        while True:
            async with asyncio.timeout(SILENT_HEARTBEATS_MAX * self._heartbeat_s):
                text = await socket.recv()
            for answer in self.frame(json.loads(text), time.monotonic()):
                await socket.send(json.dumps(answer))

    def frame(self, frame: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        """Take note of a frame; what is to be sent for it."""
        match frame["type"]:
            case "event":
                self._event(frame["channel"], frame["seq"], frame["id"], now_s)
            case "welcome" | "channels":
                if frame["type"] == "welcome":
                    self.sessions += 1
                    self._heartbeat_s = frame["heartbeat_s"]
                for info in frame["channels"]:
                    self._open(info)
            case "channel" if frame["member"]:
                self._open(frame["channel"])
            case "resumed" if not frame["complete"]:
                self.reading.said.append(f"{frame['channel']}: gap {frame.get('gap')}")
            case "reset":
                self.reading.said.append(f"{frame['channel']}: reset {frame['reason']}")
            case "ping":
                return [{"type": "pong"}, *self._ask(frame["heads"])]
        return []

    def _ask(self, heads: dict[str, int]) -> list[dict[str, Any]]:
        """Below a head, and nothing came since the last ping that named it: ask again (P8)."""
        cursors: dict[str, dict[str, Any]] = {}
        for channel, head in heads.items():
            last = self.last(channel)
            if self.follows(channel) and last < head and self._at_ping.get(channel) == last:
                cursors[channel] = {"epoch": self._epochs[channel], "seq": last}
            self._at_ping[channel] = last
        return [{"type": "resume", "cursors": cursors}] if cursors else []

    def _open(self, info: dict[str, Any]) -> None:
        self._epochs.setdefault(info["id"], info["epoch"])
        self.reading.tracks.setdefault(info["id"], Track(info["head"]))

    def _event(self, channel: str, seq: int, id_: str, now_s: float) -> None:
        self._silences.heard(self.user, now_s)
        track = self.reading.tracks.get(channel)
        if track is None:
            self.reading.leaks.append((channel, seq))
        else:
            track.take(seq, id_, now_s)
