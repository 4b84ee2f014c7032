"""A raw client that writes as well, without a line of the SDK: its own ids, its own retries, its own clock.

One command at a time: given again under the same id until it is acked or refused for good, over as many
connections as that takes. The clock may be wrong by minutes: ids of the past are taken all the same, ids of
the future are refused (`clock_skew`, they must leave no trace), and then it sets its clock by the server's.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import random
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection

from tests.chaos.raw_reader import RawReader
from tests.chaos.testimony import Record

PAUSE_S = (0.01, 0.08)
RETRY_S = 1.0
REPEAT_SHARE = 0.15
KEPT_MAX = 2000
_TIME = "time"
"""The id under which the server's time is asked for."""
LATER = frozenset({"unavailable", "unknown", "rate_limited"})
"""Errors after which the same command is given again."""


class Given(NamedTuple):
    """A command that was acked once, and when."""

    body: dict[str, Any]
    acked_s: float


class RawWriter(RawReader):
    """One user who talks in these channels and reads all of them."""

    def __init__(
        self,
        user: str,
        urls: Sequence[str],
        token: str,
        rng: random.Random,
        record: Record,
        channels: Sequence[str],
        window_s: float,
    ) -> None:
        super().__init__(user, urls, token, rng, record.silences)
        self.jump_ms = 0
        """By how much the clock is wrong."""
        self.pending: dict[str, Any] | None = None
        self.resting = True
        """Whether nothing new is said; what is pending is carried to its end."""
        self._record = record
        self._channels = channels
        self._window_s = window_s
        self._given: list[Given] = []
        self._repeat_of: Given | None = None
        self._due_s = 0.0
        self._correction_ms = 0
        self._welcomed = False
        self._news = asyncio.Event()

    async def _session(self, socket: ClientConnection) -> None:
        talking = asyncio.create_task(self._talk(socket))  # ends with the connection, as the reading does
        try:
            await super()._session(socket)
        finally:
            talking.cancel()
            await asyncio.wait([talking])

    def lost(self) -> None:
        self._welcomed = False
        self._due_s = 0.0
        if self.pending is not None and self.pending["id"] in self._record.skewed:
            self.pending = None  # refused for good; the connection ended before the time was told

    async def _talk(self, socket: ClientConnection) -> None:
        """Give the pending command when it is due, or think of a new one."""
        while True:
            self._news.clear()
            if self._welcomed and self.pending is None and not self.resting:
                await asyncio.sleep(self._rng.uniform(*PAUSE_S))
                self.pending = self.new_command()
            now_s = time.monotonic()
            if self._welcomed and self.pending is not None and now_s >= self._due_s:
                self._due_s = float("inf")
                await socket.send(json.dumps(self.pending))
            wait_s = min(1.0, max(0.01, self._due_s - now_s))
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    def new_command(self) -> dict[str, Any]:
        """Something to say; at times something that was said before."""
        self._due_s = 0.0
        if self._given and self._rng.random() < REPEAT_SHARE:
            self._repeat_of = self._rng.choice(self._given)
            return self._repeat_of.body
        self._repeat_of = None
        return {
            "type": "send",
            "id": uuid7(self._clock_ms() + self._correction_ms, self._rng),
            "channel": self._rng.choice(self._channels),
            "text": f"raw {self._rng.random()}",
        }

    def _clock_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.jump_ms

    def frame(self, frame: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        match frame["type"]:
            case "welcome":
                self._welcomed = True
                self._news.set()
            case "ack" if self._is_mine(frame):
                self._acked(frame, now_s)
            case "error" if self._is_mine(frame):
                self._refused(frame, now_s)
                if frame["code"] == "clock_skew":
                    return [{"type": "ping", "id": _TIME}]
            case "ping" if frame.get("id") == _TIME:
                self._correction_ms = _unix_ms(frame["server_time"]) - self._clock_ms()
                self._next()
                return []
        return super().frame(frame, now_s)

    def _is_mine(self, frame: dict[str, Any]) -> bool:
        return self.pending is not None and frame.get("id") == self.pending["id"]

    def _acked(self, frame: dict[str, Any], now_s: float) -> None:
        assert self.pending is not None
        self._record.take(
            self.user, frame["id"], frame["channel"], frame["seq"], duplicate=frame["duplicate"]
        )
        if self._repeat_of is not None:
            self._record.repeated(now_s - self._repeat_of.acked_s, self._window_s)
        else:
            given = Given(self.pending, now_s)
            if len(self._given) < KEPT_MAX:
                self._given.append(given)
            else:
                self._given[self._rng.randrange(KEPT_MAX)] = given
        self._next()

    def _refused(self, frame: dict[str, Any], now_s: float) -> None:
        self._record.refused[frame["code"]] += 1
        if frame["code"] in LATER:
            self._due_s = now_s + (frame.get("retry_after_ms") or RETRY_S * 1000) / 1000
            self._news.set()
            return
        if frame["code"] == "clock_skew":
            self._record.skewed.add(frame["id"])  # goes on when the server has told its time
        else:
            self._next()

    def _next(self) -> None:
        self.pending = None
        self._due_s = 0.0
        self._news.set()


def uuid7(ms: int, rng: random.Random) -> str:
    """A UUIDv7 of this time (RFC 9562)."""
    bits = ms << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    return str(uuid.UUID(int=bits))


def _unix_ms(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)
