"""Who is there during a run: how many, over which paths they come, and who is not served in the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from shared.client import Client, Verifier
from tests.bench.system import System
from tests.chaos.load import SPEAKERS, Revolving, Speaker, channels, set_up
from tests.chaos.raw_reader import RawReader
from tests.chaos.raw_writer import RawWriter
from tests.chaos.testimony import Reading, Record
from tests.support.waiting import eventually

WRITERS = 2
OPEN_S = 30.0


@dataclass(slots=True)
class People:
    """Everybody of one run, and what they were told."""

    record: Record
    speakers: list[Speaker]
    writers: list[RawWriter]
    readers: list[RawReader]
    """The writers among them: they read as well."""
    revolving: Revolving
    comer: Client
    acting: list[asyncio.Task[None]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def readings(self) -> list[Reading]:
        """What the raw clients were told, and the one who comes and goes."""
        return [reader.reading for reader in self.readers]

    @property
    def verifiers(self) -> list[Verifier]:
        """What the SDK's clients were told."""
        return [one.verifier for one in self.speakers]

    @property
    def deliveries(self) -> int:
        """How many events arrived, at all of them together."""
        sdk = sum(verifier.events for verifier in self.verifiers)
        return sdk + sum(reading.deliveries for reading in self.readings)

    def act(self) -> None:
        """Begin to talk."""
        quiet = [channel for channel in channels() if channel.startswith("quiet")]
        self.acting = [
            asyncio.create_task(one.run(quiet[number::SPEAKERS], self.over.is_set))
            for number, one in enumerate(self.speakers)
        ]
        self.acting.append(asyncio.create_task(self.revolving.run(self.comer, self.over.is_set)))
        for writer in self.writers:
            writer.resting = False

    def rest(self) -> None:
        """Say nothing new; what was asked is carried to its end."""
        self.over.set()
        for writer in self.writers:
            writer.resting = True

    def unanswered(self) -> Iterator[tuple[str, str]]:
        """Who still waits for an answer to what; to be asked after `rest`."""
        for one in self.speakers:
            if one.asked:
                yield one.verifier.name, f"waits for the answer to {one.asked}"
        for writer in self.writers:
            if writer.pending is not None:
                yield writer.user, f"waits for the answer to {writer.pending['type']} {writer.pending['id']}"
        if self.revolving.asked:
            yield "comer", f"waits for the answer to {self.revolving.asked}"

    def behind(self) -> Iterator[tuple[str, str]]:
        """Who has not seen what was acked."""
        for channel, head in self.record.heads().items():
            for verifier in self.verifiers:
                seen = verifier.channels.get(channel)
                if seen is None or seen.last < head:
                    yield verifier.name, f"has seen {channel} up to {seen and seen.last} of {head}"
            for reader in self.readers:
                if reader.last(channel) < head:
                    yield reader.user, f"has seen {channel} up to {reader.last(channel)} of {head}"


@contextlib.asynccontextmanager
async def gathered(
    system: System, doors: Sequence[str], rng: random.Random, *, readers: int, window_s: float
) -> AsyncIterator[People]:
    """Everybody has joined. They come through `doors`, every other reader straight to the edges."""
    async with contextlib.AsyncExitStack() as stack:
        record = Record()

        async def client(user: str, on_update: Callable[..., None]) -> Client:
            one = Client(
                [f"{door.replace('http://', 'ws://')}/v1/ws" for door in doors],
                system.token(user),
                on_update=on_update,
                start="beginning",
                name="parley-chaos",
            )
            return await stack.enter_async_context(one)

        def raw(number: int) -> RawReader:
            user = f"reader-{number}"
            urls = system.edges if number % 2 else doors
            return RawReader(user, urls, system.token(user), random.Random(rng.random()), record.silences)

        def writer(number: int) -> RawWriter:
            user = f"writer-{number}"
            dice = random.Random(rng.random())
            return RawWriter(user, doors, system.token(user), dice, record, talked_in(), window_s)

        async def speaker(number: int) -> Speaker:
            verifier = Verifier(f"speaker-{number}")
            sdk = await client(verifier.name, verifier.record)
            return Speaker(sdk, verifier, record, random.Random(rng.random()), window_s)

        revolving = Revolving(random.Random(rng.random()))
        writers = [writer(number) for number in range(WRITERS)]
        everyone = [*writers, *(raw(number) for number in range(readers))]
        names = [f"speaker-{number}" for number in range(SPEAKERS)]
        await set_up(await client("owner", lambda _: None), [*names, *(one.user for one in everyone)])
        people = People(
            record,
            [await speaker(number) for number in range(SPEAKERS)],
            writers,
            everyone,
            revolving,
            await client("comer", revolving.take),
        )
        reading = [asyncio.create_task(one.run()) for one in everyone]
        stack.push_async_callback(_ended, reading)
        await eventually(
            lambda: all(one.follows(channel) for one in everyone for channel in channels()), within_s=OPEN_S
        )
        try:
            yield people
        finally:
            await _ended(people.acting)


def talked_in() -> list[str]:
    """Where the raw writers talk."""
    return [channel for channel in channels() if channel.startswith("busy")]


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
