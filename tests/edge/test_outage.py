"""JetStream slow or gone: quick and true refusals, nothing that grows, everything recorded once after it.

The server is stopped (it is there and says nothing), killed, or only one of its logs has no leader's ear.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest
import pytest_asyncio

from shared.bus import Bus
from shared.client import Client
from shared.ids import ChannelId, ChannelKey, Partition, WorkspaceId
from shared.settings import CommonSettings
from shared.subjects import log_stream, partition_of
from tests.support.http import Reply, fetch
from tests.support.peer import WORKSPACE, Frame, Peer, new_id, token
from tests.support.stack import PARTITIONS, Stack, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SLOW_S = "1.0"
CLIENTS = 12
MESSAGES = 20
LATER = 60
PROBES_MAX = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """An edge that calls a second of silence slow."""
    folder = tmp_path_factory.mktemp("outage")
    async with running_stack(folder, PARLEY_COMMIT_SLOW_S=SLOW_S) as running:
        yield running


def names(prefix: str, partition: int, count: int) -> list[str]:
    """Names of channels in this partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        name = f"{prefix}-{number}"
        key = ChannelKey(WorkspaceId(WORKSPACE), ChannelId(name))
        if partition_of(key, int(PARTITIONS)) == partition:
            found.append(name)
        number += 1
    return found


async def get(stack: Stack, path: str, user: str | None = None) -> Reply:
    """Over HTTP, beside the test's loop."""
    return await asyncio.to_thread(fetch, stack.url, user, path)


async def posted(stack: Stack, user: str, channel: str) -> Reply:
    """A message over HTTP."""
    path, key = f"/v1/channels/{channel}/messages", new_id()
    return await asyncio.to_thread(
        lambda: fetch(stack.url, user, path, body={"text": "posted"}, Idempotency_Key=key)
    )


async def metric(stack: Stack, name: str) -> float:
    """The value of a metric."""
    text = (await get(stack, "/metrics")).body.decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def is_open(stack: Stack, partition: int) -> bool:
    """Whether the breaker of a log is open."""
    return await metric(stack, f'parley_edge_stream_state{{stream="LOG_{partition}"}}') == 2.0


async def unready(stack: Stack) -> bool:
    """Whether /readyz names JetStream or NATS as missing."""
    reply = await get(stack, "/readyz")
    return reply.status == 503 and bool({"jetstream", "nats"} & set(reply.json["reasons"]))


async def ready(stack: Stack) -> bool:
    """Whether /readyz says so."""
    return (await get(stack, "/readyz")).status == 200


async def history(stack: Stack, user: str, channel: str) -> list[Frame]:
    """The channel's newest events."""
    reply = await get(stack, f"/v1/channels/{channel}/events?limit=200", user)
    assert reply.status == 200, reply
    return list(reply.json["events"])


@dataclass
class Outage:
    """A user who writes to a log each, then to many channels of one, while the server is away."""

    stack: Stack
    peer: Peer
    user: str
    first: dict[str, str]
    """Commands that are under way when the server falls silent, and their channels."""
    later: dict[str, str]

    @classmethod
    @contextlib.asynccontextmanager
    async def prepared(cls, stack: Stack, user: str) -> AsyncIterator[Outage]:
        """Everything is there, and one message in each of the first channels."""
        first = {new_id(): names(user, partition, 1)[0] for partition in range(2)}
        later = {new_id(): channel for channel in names(f"{user}-later", 0, LATER)}
        async with Peer.opened(stack.url, user) as peer:
            peer.answers_pings = True
            for channel in (*first.values(), *later.values()):
                await peer.do("create_channel", channel=channel, kind="public", name=channel)
            for channel in first.values():
                await peer.do("send", channel=channel, text="before")
            yield cls(stack, peer, user, first, later)

    async def begin(self) -> None:
        """The server has just gone: the first commands, and what the edge says of it."""
        await self.send(self.first)
        for number in range(2):
            await eventually(partial(is_open, self.stack, number), within_s=60)
        await eventually(lambda: unready(self.stack), within_s=60)

    async def send(self, commands: dict[str, str]) -> None:
        """Each to its channel, with its id as its text."""
        for command, channel in commands.items():
            await self.peer.send({"type": "send", "id": command, "channel": channel, "text": command})

    async def refused(self) -> list[Frame]:
        """The refusals of the later commands: nearly all, at once, as not recorded."""
        await self.send(self.later)

        def frames() -> list[Frame]:
            return [frame for frame in self.peer.frames if frame.get("id") in self.later]

        await eventually(lambda: len(frames()) >= LATER - PROBES_MAX)
        refusals = frames()
        assert {frame["code"] for frame in refusals} == {"unavailable"}
        assert all(frame["retry_after_ms"] >= 500 for frame in refusals)
        assert await metric(self.stack, "parley_edge_commits_in_flight") <= PROBES_MAX + len(self.first)
        return refusals

    async def goes_on(self) -> None:
        """What needs no commit is answered as ever."""
        for channel in self.first.values():
            assert await self.texts(channel) == [None, "before"]
        await self.peer.send({"type": "ping", "id": "alive"})
        await self.peer.take("ping", id="alive")

    async def recovered(self, refusals: list[Frame]) -> None:
        """The server is back: the first commands are recorded once, and nothing that was refused is."""
        for command, channel in self.first.items():
            if (await self.peer.answer(command))["type"] == "error":
                await self.again(command, channel)
        await eventually(lambda: ready(self.stack), within_s=60)
        for command, channel in self.first.items():
            assert await self.texts(channel) == [None, "before", command]
        for frame in refusals:
            assert await self.texts(self.later[frame["id"]]) == [None]

    async def again(self, command: str, channel: str) -> None:
        """The same id until it is recorded."""

        async def recorded() -> bool:
            await self.send({command: channel})
            return bool((await self.peer.answer(command))["type"] == "ack")

        await eventually(recorded, within_s=60, every_s=0.3)

    async def texts(self, channel: str) -> list[str | None]:
        """What the channel's events say."""
        return [event.get("text") for event in await history(self.stack, self.user, channel)]


@contextlib.asynccontextmanager
async def deaf(bus: Bus, partition: Partition) -> AsyncIterator[None]:
    """A log that listens to another subject for a while: what is published to it finds nobody."""
    log = log_stream(partition)
    info = await bus.api(f"STREAM.INFO.{log}", {})
    config = info["config"]
    assert isinstance(config, dict)
    elsewhere = {"subjects": ["elsewhere.>"], "republish": {"src": "elsewhere.>", "dest": "nowhere.>"}}
    await bus.api(f"STREAM.UPDATE.{log}", {**config, **elsewhere})
    try:
        yield
    finally:
        await bus.api(f"STREAM.UPDATE.{log}", config)


async def test_stopped_server(stack: Stack) -> None:
    """A server that says nothing: new sends are refused as not recorded, those under way are bridged."""
    async with Outage.prepared(stack, "stopped") as outage:
        stack.nats.pause()
        try:
            await outage.begin()
            refusals = await outage.refused()
            assert not {frame.get("id") for frame in outage.peer.frames} & set(outage.first)
            await outage.goes_on()
        finally:
            stack.nats.unpause()
        await outage.recovered(refusals)


async def test_killed_server(stack: Stack) -> None:
    """A server that is gone: the same, and nothing that was refused is sent when it is back."""
    async with Outage.prepared(stack, "killed") as outage:
        stack.nats.kill()
        try:
            await outage.begin()
            await outage.goes_on()
            refusals = await outage.refused()
            over_http = await posted(stack, outage.user, outage.later[refusals[0]["id"]])
            assert (over_http.status, over_http.json["code"]) == (503, "unavailable")
            assert int(over_http.headers["retry-after"]) >= 1
        finally:
            stack.nats.start()
        await outage.recovered(refusals)


async def test_clients_record_all_once_after_an_outage(stack: Stack) -> None:
    """Clients go on writing into their outboxes; after the outage each message is there once, in order."""
    channels = names("outbox", 0, CLIENTS // 2) + names("outbox", 1, CLIENTS // 2)
    address = stack.url.replace("http", "ws") + "/v1/ws"
    clients = [Client(address, token(f"user-{number}")) for number in range(CLIENTS)]
    async with contextlib.AsyncExitStack() as opened:
        for client in clients:
            await opened.enter_async_context(client)
        for client, channel in zip(clients, channels, strict=True):
            await client.command("create_channel", None, channel=channel, kind="public", name=channel)
        stack.nats.pause()
        try:
            waiting = [
                client.post("send", channel, text=str(number))
                for number in range(MESSAGES)
                for client, channel in zip(clients, channels, strict=True)
            ]
            await eventually(lambda: unready(stack), within_s=60)
            assert not any(future.done() for future in waiting)
            in_flight = await metric(stack, "parley_edge_commits_in_flight")
            assert in_flight <= 2 * CLIENTS, "one command of a channel is at work, the others wait"
        finally:
            stack.nats.unpause()
        async with asyncio.timeout(90):
            acks = await asyncio.gather(*waiting)
        assert len({(ack.channel, ack.seq) for ack in acks}) == CLIENTS * MESSAGES
    for number, channel in enumerate(channels):
        events = await history(stack, f"user-{number}", channel)
        assert [event.get("text") for event in events[1:]] == [str(n) for n in range(MESSAGES)]


async def test_one_silent_log_leaves_the_others_open(stack: Stack) -> None:
    """A log that takes nothing refuses for its own channels; the others are written, read and followed."""
    (silent, *more), (open_,) = names("silent", 0, 1 + LATER), names("open", 1, 1)
    async with (
        Bus.connect(CommonSettings(nats_url=stack.nats.url), "test") as bus,
        Peer.opened(stack.url, "ann") as peer,
    ):
        peer.answers_pings = True
        outage = Outage(stack, peer, "ann", {new_id(): silent}, {new_id(): channel for channel in more})
        for channel in (silent, open_, *more):
            await peer.do("create_channel", channel=channel, kind="public", name=channel)
        async with deaf(bus, Partition(0)):
            await outage.send(outage.first)
            await eventually(lambda: is_open(stack, 0), within_s=60)
            refusals = await outage.refused()
            ack = await peer.do("send", channel=open_, text="goes on")
            assert (await peer.event(open_, ack["seq"]))["text"] == "goes on"
            assert await outage.texts(open_) == [None, "goes on"]
            assert await outage.texts(silent) == [None]
            assert await ready(stack), "the other edges would leave for the same reason"
        for command, channel in outage.first.items():
            assert (await peer.answer(command))["type"] == "ack"
            assert await outage.texts(channel) == [None, command]
        for frame in refusals:
            assert await outage.texts(outage.later[frame["id"]]) == [None]
        await outage.again(refusals[0]["id"], outage.later[refusals[0]["id"]])
