"""The same id is the same message for ever, whatever happened in between: one message, its first number.

Three kinds of ids, because three mechanisms answer for them: fresh ones (JetStream's duplicate window), late
ones (log and archive), and ones that were fresh when they were sent and are late when they are sent again.
"""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import AsyncIterator
from typing import Literal, get_args

import pytest
import pytest_asyncio

from infra.nats.handover import all_settled
from infra.nats.leaders import leader_of
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, WorkspaceId
from shared.retry import Deadline
from shared.subjects import log_stream, partition_of
from tests.bench.system import WORKSPACE as BENCH
from tests.bench.system import System, running
from tests.support.peer import Peer
from tests.support.sayings import aged, nothing_new, say_each, settled
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(180),
]

Between = Literal[
    "nothing",
    "nats-server killed",
    "nats-server stopped",
    "edge killed",
    "archiver killed",
    "sequencer killed",
]


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
        await aged(said)
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
    await aged(said)
    for number in range(2):
        async with Peer.opened(stack.address(number), "ann") as ann:
            if number == 0:
                await nothing_new(ann, said)
            else:
                again = await settled(ann, said[0], said[0].text)
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
