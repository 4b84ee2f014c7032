"""What goes on while things break: people who talk, edit, react, delete, come, go and reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.client import Ack, ChannelEvent, Client, Membership, Update, Verifier
from shared.errors import ClockSkew, ParleyError
from shared.ids import CommandId, new_command_id
from tests.chaos.testimony import Reading, Record

BUSY, QUIET = 6, 12
SPEAKERS = 6
PAUSE_S = (0.005, 0.06)
GIVEN_MAX = 2000
"""Commands of one speaker that may be given again."""
_REVOLVING = "busy-0"


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
    invites = [(channel, user) for channel in channels() for user in members]
    await asyncio.gather(*(owner.command("invite", c, user=user, role="member") for c, user in invites))


class Given(NamedTuple):
    """A command that was acked once, and when."""

    kind: str
    channel: str
    id: str
    fields: dict[str, object]
    acked_s: float


class Speaker:
    """One client that acts until it is told to stop, and the verifier of all that it sees.

    Some commands are given again later under the same id: after seconds, or after most of the run. While
    `jump_ms` is not 0 it stamps ids itself, with a clock that is wrong by so much.
    """

    def __init__(
        self, client: Client, verifier: Verifier, record: Record, rng: random.Random, window_s: float
    ) -> None:
        self._client = client
        self.verifier = verifier
        self.jump_ms = 0
        self.asked = ""
        """The command that is not answered yet."""
        self._record = record
        self._rng = rng
        self._window_s = window_s
        self._mine: list[tuple[str, int]] = []
        self._given: list[Given] = []

    async def run(self, quiet: Sequence[str], over: Callable[[], bool]) -> None:
        """Say one thing in each of these quiet channels, the rest in busy ones."""
        to_say = list(quiet)
        while not over():
            what = self._rng.random()
            if to_say and what < 0.02:
                await self._do("send", to_say.pop(), text="said once")
            elif self._given and what < 0.12:
                await self._again(self._rng.choice(self._given))
            elif self._mine and what < 0.35:
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
        now_ms = time.time_ns() // 1_000_000
        id_ = new_command_id(now_ms + self.jump_ms) if self.jump_ms else None
        ack = await self._command(kind, channel, id_, fields)
        if ack is not None:
            given = Given(kind, channel, ack.id, fields, time.monotonic())
            if len(self._given) < GIVEN_MAX:
                self._given.append(given)
            else:
                self._given[self._rng.randrange(GIVEN_MAX)] = given
        return ack

    async def _again(self, given: Given) -> None:
        age_s = time.monotonic() - given.acked_s
        if await self._command(given.kind, given.channel, CommandId(given.id), given.fields) is not None:
            self._record.repeated(age_s, self._window_s)

    async def _command(
        self, kind: str, channel: str, id_: CommandId | None, fields: dict[str, object]
    ) -> Ack | None:
        self.asked = f"{kind} {channel} {id_ or ''}"
        try:
            ack = await self._client.command(kind, channel, id=id_, origin=None, **fields)
        except ParleyError as error:
            self._record.refused[error.code] += 1
            if error.code == ClockSkew.code and self.jump_ms:
                self._record.skewed.add(str(id_))
                self.jump_ms = 0  # the server has told what time it is
            return None
        finally:
            self.asked = ""
        self._record.note(self.verifier.name, ack)
        return ack


class Revolving:
    """A user who comes and goes in one channel, and may see nothing of it while away (P21).

    Away means: told so after the last `leave`, and no `join` given since. Whoever is back may read all of it:
    what a resume brings then is no leak.
    """

    def __init__(self, rng: random.Random) -> None:
        self.reading = Reading("comer")
        self.turns = 0
        self.asked = ""
        """The command that is not answered yet."""
        self._rng = rng
        self._is_leaving = False
        self._is_away = False

    def take(self, update: Update) -> None:
        """An update of the user's client."""
        if isinstance(update, Membership) and update.channel == _REVOLVING:
            self._is_away = self._is_leaving and update.info is None
        elif isinstance(update, ChannelEvent) and update.channel == _REVOLVING and self._is_away:
            self.reading.leaks.append((update.channel, update.seq))

    async def run(self, client: Client, over: Callable[[], bool]) -> None:
        """Join and leave."""
        while not over():
            for kind in ("join", "leave"):
                self.asked = kind
                self._is_leaving = kind == "leave"
                self._is_away = self._is_away and self._is_leaving
                with contextlib.suppress(ParleyError):  # a retry of what was done: the next turn goes on
                    await client.command(kind, _REVOLVING)
                self.asked = ""
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))
            self.turns += 1
