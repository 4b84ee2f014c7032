"""Commands under ids of three ages, and the proof that each is one message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge.publisher import FRESHNESS
from shared.ids import CommandId, command_time_ms, new_command_id
from tests.support.peer import Frame, Peer
from tests.support.waiting import eventually

LONG_AGO_MS = 1_100_000_000_000
AGES_MS = 2_000
"""How long an id of the third kind stays fresh."""


@dataclass(frozen=True, slots=True)
class Said:
    """A command as it was given, and the number that it got."""

    id: CommandId
    channel: str
    text: str
    seq: int


async def say(peer: Peer, channel: str, text: str, at_ms: int) -> Said:
    """Send a message under an id of this time; it must be new."""
    id_ = new_command_id(at_ms)
    ack = await _answer(peer, id_, channel, text)
    assert (ack["type"], ack["duplicate"]) == ("ack", False), ack
    return Said(id_, channel, text, ack["seq"])


async def say_each(peer: Peer, channel: str) -> list[Said]:
    """One id of each kind."""
    now_ms = time.time_ns() // 1_000_000
    return [
        await say(peer, channel, "fresh", now_ms),
        await say(peer, channel, "late", LONG_AGO_MS),
        await say(peer, channel, "ages", now_ms - FRESHNESS.limit_ms + AGES_MS),
    ]


async def nothing_new(peer: Peer, said: Sequence[Said], *, added: int = 0) -> None:
    """Sent again, each has its first number; with another body it is a conflict; no event is added.

    `added`: messages that were sent since.
    """
    for one in said:
        again = await settled(peer, one, one.text)
        assert (again["type"], again.get("seq"), again.get("duplicate")) == ("ack", one.seq, True), again
        other = await settled(peer, one, "another text")
        assert (other["type"], other.get("code")) == ("error", "conflict"), other
    channel, id_ = said[0].channel, new_command_id(time.time_ns() // 1_000_000)
    following = await settled(peer, Said(id_, channel, "next", 0), "next")
    assert following.get("seq") == max(one.seq for one in said) + added + 1


async def settled(peer: Peer, one: Said, text: str) -> Frame:
    """The answer, once it is no "later": what was killed may still be on its way back."""
    deadline_s = time.monotonic() + 40
    while True:
        await peer.send({"type": "send", "id": one.id, "channel": one.channel, "text": text})
        answer = await peer.answer(one.id)
        if answer.get("code") not in {"unavailable", "unknown"} or time.monotonic() > deadline_s:
            return answer
        await asyncio.sleep(min(1.0, answer["retry_after_ms"] / 1000))  # as every client does


async def _answer(peer: Peer, id_: CommandId, channel: str, text: str) -> Frame:
    await peer.send({"type": "send", "id": id_, "channel": channel, "text": text})
    return await peer.answer(id_)


async def aged(said: Sequence[Said]) -> None:
    """Returns when the id of the third kind has become late."""
    at_ms = command_time_ms(said[2].id)
    await eventually(lambda: time.time_ns() // 1_000_000 - FRESHNESS.limit_ms > at_ms)
