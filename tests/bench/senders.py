"""Closed-loop senders of one edge in a process of their own: `python -m tests.bench.senders`.

{"open": [[token, [channel, …]], …], "url"}   connect, and create each one's channels
{"run": seconds, "in_flight"}                 keep so many unanswered for so long, then wait for all acks
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter

from tests.bench.child import Child, child
from tests.bench.durability import keep_busy
from tests.bench.load_client import LoadClient, open_session
from tests.bench.loop import run

OPEN_S, ANSWERS_S = 120.0, 60.0

Sender = tuple[str, Sequence[str]]
"""A token, and the channels of its user alone."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was acknowledged, by channel, and when the first was sent and the last answered.

    Times are seconds of the monotonic clock, which all processes of a machine share.
    """

    acked: Mapping[str, int]
    began_s: float
    ended_s: float
    cpu_us: float


_SENT = TypeAdapter(Sent)


class Senders:
    """The parent's end."""

    def __init__(self, process: Child) -> None:
        self._process = process

    async def open(self, url: str, senders: Sequence[Sender]) -> None:
        """Connect them all; each creates its channels."""
        await self._process.ask({"open": senders, "url": url}, OPEN_S)

    async def run(self, seconds: float, in_flight: int) -> Sent:
        """Each sends with so many unanswered. Nothing may be refused."""
        question: dict[str, object] = {"run": seconds, "in_flight": in_flight}
        return _SENT.validate_python(await self._process.ask(question, seconds + ANSWERS_S))


@contextlib.asynccontextmanager
async def senders() -> AsyncIterator[Senders]:
    """No sender yet; their process ends with the context."""
    async with child("tests.bench.senders") as process:
        yield Senders(process)


class _Sessions:
    """The other side."""

    def __init__(self) -> None:
        self._open: list[tuple[LoadClient, Sequence[str]]] = []

    async def obey(self, question: dict[str, object]) -> dict[str, object]:
        if "open" in question:
            members = question["open"]
            assert isinstance(members, list)
            for token, channels in members:
                session = await open_session(str(question["url"]), token)
                for name in channels:
                    await session.ask(
                        {"type": "create_channel", "kind": "public", "channel": name, "name": name}
                    )
                self._open.append((session, channels))
            return {}
        return await self._run(float(str(question["run"])), int(str(question["in_flight"])))

    async def _run(self, seconds: float, in_flight: int) -> dict[str, object]:
        for session, _ in self._open:
            session.reset()
        began_s, began_ns = time.monotonic(), time.process_time_ns()
        counts = await asyncio.gather(*(keep_busy(*one, began_s + seconds, in_flight) for one in self._open))
        cpu_us, ended_s = (time.process_time_ns() - began_ns) / 1000, time.monotonic()
        acked: Counter[str] = Counter()
        for (_, channels), count in zip(self._open, counts, strict=True):
            acked.update(in_turn(channels, count))
        return {"acked": acked, "began_s": began_s, "ended_s": ended_s, "cpu_us": cpu_us}


def in_turn(channels: Sequence[str], count: int) -> dict[str, int]:
    """How many of `count` messages each channel got, if they took turns."""
    whole, rest = divmod(count, len(channels))
    return {channel: whole + (place < rest) for place, channel in enumerate(channels)}


async def _serve() -> None:
    sessions = _Sessions()
    while line := await asyncio.to_thread(sys.stdin.readline):
        os.write(1, orjson.dumps(await sessions.obey(orjson.loads(line))) + b"\n")


if __name__ == "__main__":
    run(_serve())
