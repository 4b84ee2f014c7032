"""The same id is the same message for ever, whatever happened in between: one message, its first number.

Three kinds of ids, because three mechanisms answer for them: fresh ones (JetStream's duplicate window), late
ones (log and archive), and ones that were fresh when they were sent and are late when they are sent again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pytest
import pytest_asyncio

from edge.publisher import FRESH_MS
from infra.nats.handover import all_settled
from infra.nats.leaders import leader_of
from infra.proof.check import check
from infra.proof.sources import read_heads, wait_for_archive, wait_for_checkpoints
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, CommandId, WorkspaceId, command_time_ms, new_command_id
from shared.retry import Deadline
from shared.settings import CommonSettings
from shared.subjects import log_stream, partition_of
from tests.bench.system import WORKSPACE as BENCH
from tests.bench.system import System, running
from tests.support.http import fetch
from tests.support.peer import WORKSPACE, Frame, Peer
from tests.support.stack import PARTITIONS, Stack, running_stack
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(180),
]

LONG_AGO_MS = 1_100_000_000_000
AGES_MS = 2_000
"""How long an id of the third kind stays fresh."""

Between = Literal[
    "nothing",
    "nats-server killed",
    "nats-server stopped",
    "edge killed",
    "archiver killed",
    "sequencer killed",
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A system of its own: what is killed here would be missed by others."""
    async with running_stack(tmp_path_factory.mktemp("idempotence"), edges=2) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def bus(stack: Stack) -> AsyncIterator[Bus]:
    """A bus with every right."""
    settings = CommonSettings(nats_url=stack.nats.url, partitions=int(PARTITIONS))
    async with Bus.connect(settings, "test") as connected:
        yield connected


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
        await say(peer, channel, "ages", now_ms - FRESH_MS + AGES_MS),
    ]


async def nothing_new(peer: Peer, said: Sequence[Said], *, added: int = 0) -> None:
    """Sent again, each has its first number; with another body it is a conflict; no event is added.

    `added`: messages that were sent since.
    """
    for one in said:
        again = await _settled(peer, one, one.text)
        assert (again["type"], again.get("seq"), again.get("duplicate")) == ("ack", one.seq, True), again
        other = await _settled(peer, one, "another text")
        assert (other["type"], other.get("code")) == ("error", "conflict"), other
    channel, id_ = said[0].channel, new_command_id(time.time_ns() // 1_000_000)
    following = await _settled(peer, Said(id_, channel, "next", 0), "next")
    assert following.get("seq") == max(one.seq for one in said) + added + 1


async def _settled(peer: Peer, one: Said, text: str) -> Frame:
    """The answer, once it is no "later": what was killed may still be on its way back."""
    deadline_s = time.monotonic() + 40
    while True:
        await peer.send({"type": "send", "id": one.id, "channel": one.channel, "text": text})
        answer = await peer.answer(one.id, within_s=30)
        if answer.get("code") not in {"unavailable", "unknown"} or time.monotonic() > deadline_s:
            return answer
        await asyncio.sleep(min(1.0, answer["retry_after_ms"] / 1000))  # as every client does


async def _answer(peer: Peer, id_: CommandId, channel: str, text: str) -> Frame:
    await peer.send({"type": "send", "id": id_, "channel": channel, "text": text})
    return await peer.answer(id_)


async def _aged(said: Sequence[Said]) -> None:
    """Returns when the id of the third kind has become late."""
    at_ms = command_time_ms(said[2].id)
    await eventually(lambda: time.time_ns() // 1_000_000 - FRESH_MS > at_ms, within_s=30)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster() -> AsyncIterator[System]:
    """Three servers, so that another one can lead."""
    async with running(nats=3, durability="quorum") as started:
        yield started


@pytest.mark.parametrize("how", ["stepped down", "killed"])
async def test_same_id_after_another_leader(cluster: System, how: str) -> None:
    """The log's leader steps down, or is killed: whoever leads then knows the ids."""
    channel = "leader-" + how.replace(" ", "-")
    stream = log_stream(partition_of(ChannelKey(WorkspaceId(BENCH), ChannelId(channel)), 8))
    async with (
        Peer.connect(cluster.edges[0]) as ann,
        Bus.connect(cluster.directory.operator_settings(), "test") as bus,
    ):
        await ann.send({"type": "hello", "token": cluster.token("ann")})
        await ann.take("welcome")
        await ann.do("create_channel", kind="public", name="c", channel=channel)
        said = await say_each(ann, channel)
        leader = await leader_of(bus, stream, Deadline.after(30))
        if how == "killed":
            os.kill(cluster.pid(leader), signal.SIGKILL)
        else:
            await bus.api(f"STREAM.LEADER.STEPDOWN.{stream}", {})
        await _aged(said)
        await nothing_new(ann, said)
        await all_settled(bus, cluster.run.partitions, Deadline.after(60))
        assert how == "killed" or await leader_of(bus, stream, Deadline.after(30)) != leader


@pytest.mark.parametrize("between", get_args(Between))
async def test_same_id_after(stack: Stack, between: Between) -> None:
    """Whatever was killed and restarted meanwhile, and whichever edge is asked."""
    channel = "after-" + between.replace(" ", "-")
    async with Peer.opened(stack.url, "ann") as ann:
        await ann.do("create_channel", kind="public", name="c", channel=channel)
        said = await say_each(ann, channel)
    await _disturb(stack, between)
    await _aged(said)
    for number in range(2):
        async with Peer.opened(stack.address(number), "ann") as ann:
            if number == 0:
                await nothing_new(ann, said)
            else:
                again = await _settled(ann, said[0], said[0].text)
                assert (again["seq"], again["duplicate"]) == (said[0].seq, True)


async def _disturb(stack: Stack, between: Between) -> None:
    match between:
        case "nats-server killed":
            stack.nats.restart()
        case "nats-server stopped":
            stack.nats.stop()
            stack.nats.start()
        case "edge killed":
            stack.edges[0].kill()
            await stack.edges[0].start()
        case "archiver killed":
            stack.archiver.kill()
            await stack.archiver.start()
        case "sequencer killed":
            stack.sequencer.kill(signal.SIGKILL)
            await stack.sequencer.start()
    await eventually(lambda: all(_is_ready(stack.address(n)) for n in range(2)), within_s=60)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


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
        await _aged(said)
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
