"""While people write and read, messages and users are erased: at the end no byte of it is anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.tokens import mint
from infra.proof.check import check
from infra.proof.sources import read_heads, wait_for_archive
from shared.bus import Bus
from shared.client import ChannelEvent, Client, Update, Verifier
from shared.client.session import Start
from shared.ids import ChannelId, UserId, WorkspaceId
from shared.retry import Deadline
from tests.support.erased import forgetful, gone
from tests.support.local_system import LocalSystem
from tests.support.seaweed import Seaweed
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(900)]

PARTITIONS = 2
CHANNELS = [ChannelId(name) for name in ("tea", "go", "rust")]
PEOPLE = [UserId(name) for name in ("ann", "bob", "eve")]
WORKSPACE = WorkspaceId("demo")
ROUNDS = 20
EVERY_S = 0.05
SECRET = "Xsecret"
BUCKET = "s3://archive/erased"


@pytest.fixture(params=["directory", "bucket"])
def system(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalSystem]:
    """A system that writes Parquet, merges and sweeps all the time, with an archive of each kind."""
    with contextlib.ExitStack() as stack:
        options: tuple[str, ...] = ()
        archive = ""
        if request.param == "bucket":
            server = Seaweed(tmp_path / "seaweed")
            server.start()
            stack.callback(server.stop)
            for name, value in (server.environ | {"PARLEY_ARCHIVE": BUCKET}).items():
                monkeypatch.setenv(name, value)
            options, archive = ("--env.PARLEY_ARCHIVE_CACHE", str(tmp_path / "data" / "cache")), BUCKET
        yield from _started(tmp_path, archive, options)


def _started(tmp_path: Path, archive: str, options: tuple[str, ...]) -> Iterator[LocalSystem]:
    started = LocalSystem(
        tmp_path,
        *options,
        *("--partitions", str(PARTITIONS), "--edges", "2", "--readers", "1", "--durability", "process"),
        *("--env.PARLEY_FLUSH_INTERVAL_S", "0.5", "--env.PARLEY_ERASED_GRACE_S", "2"),
        archive=archive,
    )
    started.start()
    yield started
    started.stop()


class Person:
    """Who writes, reads, and remembers what they were shown."""

    def __init__(
        self, system: LocalSystem, user: UserId, scopes: tuple[str, ...] = (), *, start: Start = "head"
    ) -> None:
        run = system.run()
        assert run is not None
        token = mint(system.data.credentials().jwt, user, workspace=WORKSPACE, scopes=scopes)
        urls = [url.replace("http", "ws") + "/v1/ws" for url in run.edges]
        self.user = user
        self.verifier = Verifier(user)
        self.texts: dict[tuple[str, int], str] = {}
        self.heads: dict[str, int] = {}
        self.client = Client(urls, token, on_update=self._take, start=start, name=user)

    def _take(self, update: Update) -> None:
        self.verifier.record(update)
        if isinstance(update, ChannelEvent):
            frame = update.frame
            self.heads[update.channel] = frame["seq"]
            if frame["kind"] == "message.posted":
                self.texts[update.channel, frame["seq"]] = frame.get("text", "")


async def test_erasing_while_people_go_on(system: LocalSystem) -> None:
    """Texts that were erased are in no file of archive, caches, index, log or NATS; everything else stays."""
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.connect(system.data.operator_settings(), "test"))
        await forgetful(bus, PARTITIONS)
        people = [Person(system, user) for user in PEOPLE]
        operator = Person(system, UserId("operator"), ("erase",))
        for person in (*people, operator):
            await stack.enter_async_context(person.client)
        for channel in CHANNELS:
            await people[0].client.create_channel("public", channel, channel=channel)
            for person in people[1:]:
                await person.client.join(channel)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            talking = [group.create_task(talk(person, over)) for person in people]
            await erase_now_and_then(system, bus, people[1], operator)
            over.set()
            kept = sum([await task for task in talking])
        await settled(people)
        await gone(system, bus, PARTITIONS, SECRET)
        report = await check(
            bus,
            system.data.archive,
            PARTITIONS,
            workspace=WORKSPACE,
            verifiers=[person.verifier for person in people],
        )
        assert report.clean, report.named
        assert kept > 0
        for person in people:  # who was away and asks for everything sees none of it
            again = Person(system, person.user, start="beginning")
            async with again.client:
                await eventually(lambda again=again: again.heads == people[0].heads, within_s=120)
            assert not [text for text in again.texts.values() if SECRET in text]
            assert sum(text.startswith("kept") for text in again.texts.values()) == kept


async def talk(person: Person, over: asyncio.Event) -> int:
    """Say something all the time; how much of it there is."""
    rng = random.Random(person.user)
    said = 0
    while not over.is_set():
        await person.client.send(rng.choice(CHANNELS), f"kept {said}")
        said += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                await over.wait()
    return said


async def in_parquet(system: LocalSystem, bus: Bus) -> None:
    """Wait until the archive holds what the logs hold now."""
    heads = await read_heads(bus, PARTITIONS)
    assert not await wait_for_archive(system.data.archive, heads, Deadline.after(180))


async def erase_now_and_then(system: LocalSystem, bus: Bus, bob: Person, operator: Person) -> None:
    """Messages and their edits, some of them when they are in Parquet, and all of who says only secrets."""
    mallory = Person(system, UserId("mallory"))
    async with mallory.client:
        for channel in CHANNELS:
            await mallory.client.join(channel)
        for number in range(ROUNDS):
            channel = CHANNELS[number % len(CHANNELS)]
            seq = (await bob.client.send(channel, f"{SECRET} {number}")).seq
            await bob.client.edit(channel, seq, f"{SECRET} edited {number}")
            await mallory.client.send(channel, f"{SECRET} of mallory {number}")
            if number % 3 == 0:
                await in_parquet(system, bus)
            await operator.client.erase(channel, ref=seq)
    for channel in CHANNELS:
        await operator.client.erase(channel, user="mallory")


async def settled(people: list[Person]) -> None:
    """Everybody has seen what there is."""

    def heads() -> int:
        return len({tuple(sorted(person.heads.items())) for person in people})

    await eventually(lambda: heads() == 1, within_s=60)
