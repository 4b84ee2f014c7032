"""Nobody notices that the log forgot: neither its duplicate window nor its front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from infra.proof.check import check
from infra.proof.sources import read_heads, wait_for_archive, wait_for_checkpoints
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, WorkspaceId
from shared.retry import Deadline
from shared.settings import CommonSettings
from shared.subjects import log_stream, partition_of
from tests.support.http import fetch
from tests.support.peer import WORKSPACE, Peer
from tests.support.sayings import LONG_AGO_MS, aged, nothing_new, say, say_each
from tests.support.stack import PARTITIONS, Stack

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(180),
]


@pytest_asyncio.fixture(loop_scope="session")
async def bus(stack: Stack) -> AsyncIterator[Bus]:
    """A bus with every right."""
    settings = CommonSettings(nats_url=stack.nats.url, partitions=int(PARTITIONS))
    async with Bus.connect(settings, "test") as connected:
        yield connected


async def test_same_id_after_jetstream_forgot_it(stack: Stack, bus: Bus) -> None:
    """Late ids do not lean on the duplicate window: with one of a tenth of a second they are one message."""
    channel = "window"
    stream = log_stream(partition_of(_key(channel), int(PARTITIONS)))
    before = await _window(bus, stream, 100_000_000)
    try:
        async with Peer.opened(stack.url, "ann") as ann:
            await ann.do("create_channel", kind="public", name="c", channel=channel)
            said = [await say(ann, channel, f"late {n}", LONG_AGO_MS + n) for n in range(2)]
            await ann.do("send", channel=channel, text="time passes")
            await nothing_new(ann, said, added=1)
    finally:
        await _window(bus, stream, before)


async def test_same_id_after_the_log_was_trimmed(stack: Stack, bus: Bus) -> None:
    """What has left the log for Parquet is still one message, for feeds that were up and for new ones."""
    channel = "trimmed"
    async with Peer.opened(stack.url, "ann") as ann, Peer.opened(stack.url, "bob") as bob:
        await ann.do("create_channel", kind="public", name="c", channel=channel)
        await bob.do("join", channel=channel)
        said = await say_each(ann, channel)
        await _trim(stack, bus)
        await aged(said)
        await nothing_new(ann, said)
        await bob.event(channel, 6)
        assert not [frame for frame in await bob.quiet() if frame["type"] in {"reset", "bye", "resumed"}]
    async with Peer.opened(stack.address(1), "ann") as ann:
        await nothing_new(ann, said, added=1)


async def test_everything_works_across_the_edge_of_the_log(stack: Stack, bus: Bus) -> None:
    """History, resume, unread, imports, creations, restarts, `verify`: nothing notices the trimming."""
    async with Peer.opened(stack.url, "ann") as ann:
        for channel in ("quiet", "busy"):
            await ann.do("create_channel", kind="public", name="c", channel=channel)
            for number in range(3):
                await ann.do("send", channel=channel, text=str(number))
        await _trim(stack, bus)
        assert (await ann.do("send", channel="busy", text="after"))["seq"] == 5
    stack.archiver.kill()
    stack.sequencer.kill()
    await stack.archiver.start()
    await stack.sequencer.start()
    url = stack.address(1)
    for channel, head in (("quiet", 4), ("busy", 5)):
        page = fetch(url, "ann", f"/v1/channels/{channel}/events?after=0&limit=10").json
        assert [event["seq"] for event in page["events"]] == list(range(1, head + 1))
        async with Peer.opened(url, "ann") as ann:
            listed = {one["id"]: one for one in ann.welcome["channels"]}[channel]
            assert (listed["head"], listed["unread"]) == (head, head - 1)
            await ann.send({"type": "resume", "cursors": {channel: {"epoch": listed["epoch"], "seq": 1}}})
            resumed = await ann.take("resumed", channel=channel)
            assert (resumed["complete"], resumed["count"]) == (True, head - 1)
    assert (await _first(bus, "quiet")) > 1
    async with Peer.opened(url, "ann", scope="import") as ann:
        again = await ann.ask("create_channel", kind="public", name="c", channel="quiet")
        assert again["code"] == "conflict", again
        said = [await say(ann, "quiet", f"imported {n}", LONG_AGO_MS + n) for n in range(2)]
        assert [one.seq for one in said] == [5, 6]
        await nothing_new(ann, said)
    report = await check(bus, stack.folder / "archive", int(PARTITIONS), workspace=WorkspaceId(WORKSPACE))
    assert report.clean, report.named


async def _trim(stack: Stack, bus: Bus) -> None:
    """Remove from every log what is in Parquet and in checkpoints, as an operator may."""
    heads = await read_heads(bus, int(PARTITIONS))
    assert not await wait_for_archive(stack.folder / "archive", heads, Deadline.after(40))
    assert not await wait_for_checkpoints(bus, heads, Deadline.after(40))
    for partition, head in heads.items():
        await bus.api(f"STREAM.PURGE.{log_stream(partition)}", {"seq": head + 1})


async def _window(bus: Bus, stream: str, nanoseconds: int) -> int:
    """Set the duplicate window of a log; returns what it was."""
    config: Any = (await bus.api(f"STREAM.INFO.{stream}", {}))["config"]
    await bus.api(f"STREAM.UPDATE.{stream}", config | {"duplicate_window": nanoseconds})
    return int(config["duplicate_window"])


async def _first(bus: Bus, channel: str) -> int:
    """The first sequence of the log that a channel is in."""
    stream = log_stream(partition_of(_key(channel), int(PARTITIONS)))
    state: Any = (await bus.api(f"STREAM.INFO.{stream}", {}))["state"]
    return int(state["first_seq"])


def _key(channel: str) -> ChannelKey:
    return ChannelKey(WorkspaceId(WORKSPACE), ChannelId(channel))
