"""`parley drain`: one edge of a running system is restarted, and its clients notice a reconnect at most."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from infra.local.probe import readiness
from infra.local.tokens import mint
from shared.client import Client
from tests.support.local_system import LocalSystem
from tests.support.peer import Peer
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system with two edges that drain within a second."""
    started = LocalSystem(
        tmp_path_factory.mktemp("drain"),
        *("--edges", "2", "--partitions", "1", "--durability", "process", "--env.PARLEY_DRAIN_S", "1"),
    )
    started.start()
    yield started
    started.stop()


@contextlib.asynccontextmanager
async def _session(system: LocalSystem, url: str, user: str) -> AsyncIterator[Peer]:
    async with Peer.connect(url) as peer:
        await peer.send({"type": "hello", "token": mint(system.data.credentials().jwt, user)})
        await peer.take("welcome")
        yield peer


async def test_sessions_of_one_edge_are_sent_away(system: LocalSystem) -> None:
    """They hear `going_away` and when to come back; the other edge's stay; a new process takes over."""
    first, second = system.data.run().edges
    before, other = system.pid("edge-1"), system.pid("edge-2")
    async with contextlib.AsyncExitStack() as stack:
        leaving = [await stack.enter_async_context(_session(system, first, f"u{n}")) for n in range(3)]
        staying = await stack.enter_async_context(_session(system, second, "stays"))
        draining = asyncio.create_task(asyncio.to_thread(system.parley, "drain", "edge-1"))
        for peer in leaving:
            bye = await peer.take("bye")
            assert (bye["reason"], bye["resumable"]) == ("going_away", True)
            assert 0 <= bye["retry_after_ms"] <= 1000
            assert await peer.closed() == 4000
        said = (await draining).stdout.splitlines()
        assert ["drained and ended" in said[0], "ready again" in said[1]] == [True, True]
        await staying.quiet()
    assert system.pid("edge-1") != before
    assert system.pid("edge-2") == other
    assert (await readiness(first, "/readyz")).ready


@pytest.mark.faults
async def test_a_rolling_restart_loses_nothing(system: LocalSystem) -> None:
    """Who writes while each edge is drained has every message recorded once, in order."""
    urls = [url.replace("http", "ws") + "/v1/ws" for url in system.data.run().edges]
    done = asyncio.Event()
    async with Client(urls, mint(system.data.credentials().jwt, "writer")) as client:
        await client.create_channel("public", "rolling", channel="rolling")

        async def write() -> list[int]:
            seqs: list[int] = []
            while not done.is_set():
                seqs.append((await client.send("rolling", str(len(seqs)))).seq)
            return seqs

        writing = asyncio.create_task(write())
        for edge in ("edge-1", "edge-2"):
            await asyncio.to_thread(system.parley, "drain", edge)
        done.set()
        seqs = await writing
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert len(seqs) > 100


@pytest.mark.parametrize("name", ["edge-3", "sequencer", "nats-1"])
def test_only_edges_are_drained(system: LocalSystem, name: str) -> None:
    """Exit code 1, with the names of the edges."""
    refused = system.parley("drain", name, check=False)
    assert (refused.returncode, "the edges are edge-1, edge-2" in refused.stderr) == (1, True), refused.stderr


async def test_an_edge_that_takes_too_long_is_named(system: LocalSystem) -> None:
    """Exit code 1 at the deadline; the drain goes on, and the edge comes back all the same."""
    before = system.pid("edge-2")
    late = await asyncio.to_thread(system.parley, "drain", "edge-2", "--wait", "0.01", check=False)
    assert (late.returncode, "in time" in late.stderr) == (1, True), late.stderr
    await eventually(lambda: _came_back(system, before))


async def _came_back(system: LocalSystem, before: int) -> bool:
    edge = system.data.run().process("edge-2")
    return edge.pid not in {None, before} and (await readiness(edge.url, edge.ready_path)).ready
