"""What goes on while things break: people who talk, edit, react, delete, come, go and reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.client import Ack, ChannelEvent, Client, Membership, Update, Verifier
from shared.errors import ParleyError

BUSY, QUIET = 6, 12
SPEAKERS = 6
PAUSE_S = (0.005, 0.06)
_REVOLVING = "busy-0"


@dataclass(slots=True)
class Record:
    """What the speakers were answered: id → (channel, seq), when, and what was refused."""

    acked: dict[str, tuple[str, int]] = field(default_factory=dict)
    ack_at_s: list[float] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def take(self, ack: Ack) -> None:
        """An ack arrived."""
        before = self.acked.setdefault(ack.id, (ack.channel, ack.seq))
        if before != (ack.channel, ack.seq):
            self.duplicates.append(f"{ack.id} was acked at {before} and at {(ack.channel, ack.seq)}")
        self.ack_at_s.append(time.monotonic())

    def heads(self) -> dict[str, int]:
        """The highest acked number of each channel."""
        heads: dict[str, int] = {}
        for channel, seq in self.acked.values():
            heads[channel] = max(seq, heads.get(channel, 0))
        return heads


def channels() -> list[str]:
    """Busy ones, and ones in which one message is said, and then nothing."""
    return [f"busy-{n}" for n in range(BUSY)] + [f"quiet-{n}" for n in range(QUIET)]


def speaker(number: int) -> str:
    """The user of a speaker."""
    return f"speaker-{number}"


async def set_up(owner: Client, members: Sequence[str]) -> None:
    """Create the channels and invite everybody."""
    for channel in channels():
        await owner.create_channel("public", channel, channel=channel)
        for user in members:
            await owner.command("invite", channel, user=user, role="member")


class Speaker:
    """One client that acts until it is told to stop, and the verifier of all that it sees."""

    def __init__(self, client: Client, verifier: Verifier, record: Record, rng: random.Random) -> None:
        self._client = client
        self.verifier = verifier
        self._record = record
        self._rng = rng
        self._mine: list[tuple[str, int]] = []

    async def run(self, quiet: Sequence[str], over: Callable[[], bool]) -> None:
        """Say one thing in each of these quiet channels, the rest in busy ones."""
        to_say = list(quiet)
        while not over():
            if to_say and self._rng.random() < 0.02:
                await self._do("send", to_say.pop(), text="said once")
            elif self._mine and self._rng.random() < 0.25:
                await self._about_mine()
            else:
                channel = f"busy-{self._rng.randrange(BUSY)}"
                ack = await self._do("send", channel, text=f"{self._rng.random()}")
                if ack is not None:
                    self._mine.append((channel, ack.seq))
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))

    async def _about_mine(self) -> None:
        channel, ref = self._rng.choice(self._mine)
        match self._rng.choice(("edit", "react", "delete")):
            case "edit":
                await self._do("edit", channel, ref=ref, text="better")
            case "react":
                await self._do("react", channel, ref=ref, emoji="👍")
            case _:
                await self._do("delete", channel, ref=ref)

    async def _do(self, kind: str, channel: str, **fields: object) -> Ack | None:
        try:
            ack = await self._client.command(kind, channel, **fields)
        except ParleyError as error:
            self._record.refused[error.code] += 1
            return None
        self._record.take(ack)
        return ack


class Revolving:
    """A user who comes and goes in one channel, and may see nothing of it while away (P21).

    Away means: told so after the last `leave`, and no `join` given since. Whoever is back may read all of it:
    what a resume brings then is no leak.
    """

    def __init__(self, rng: random.Random) -> None:
        self.leaks: list[str] = []
        self.turns = 0
        self._rng = rng
        self._is_leaving = False
        self._is_away = False

    def take(self, update: Update) -> None:
        """An update of the user's client."""
        if isinstance(update, Membership) and update.channel == _REVOLVING:
            self._is_away = self._is_leaving and update.info is None
        elif isinstance(update, ChannelEvent) and update.channel == _REVOLVING and self._is_away:
            self.leaks.append(f"#{update.seq} {update.kind} while away")

    async def run(self, client: Client, over: Callable[[], bool]) -> None:
        """Join and leave."""
        while not over():
            for kind in ("join", "leave"):
                self._is_leaving = kind == "leave"
                self._is_away = self._is_away and self._is_leaving
                with contextlib.suppress(ParleyError):  # a retry of what was done: the next turn goes on
                    await client.command(kind, _REVOLVING)
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))
            self.turns += 1
