"""Every process of the real cluster is restarted while people talk: they notice a reconnect at most."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bench.rolling import kill_a_leader, prove, restart, sockets
from tests.bench.system import System, running
from tests.support.steady import Conversation, channel_of, conversing

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(400),
]

CLIENTS = 6


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system() -> AsyncIterator[System]:
    """Three NATS servers, two sequencers, two archivers, three edges."""
    async with running(edges=3, nats=3, sequencers=2, archivers=2, durability="quorum") as started:
        yield started


def _tokens(system: System) -> list[str]:
    return [system.token(channel_of(number)) for number in range(CLIENTS)]


def _show(what: str, conversation: Conversation) -> None:
    """For people who run this with `-s`; the bounds are judged by `parley bench rolling`."""
    for name, silence_s in conversation.silences_s().items():
        print(f"{what}: the longest silence of {name} was {silence_s:.2f} s")


async def test_nothing_is_lost(system: System) -> None:
    """All is restarted, then a leader killed: what was acked is there once, and everybody has it in order."""
    pids = {process.name: process.pid for process in system.directory.run().processes}
    async with conversing(sockets(system), _tokens(system)) as conversation:
        await restart(system)
        _show("rolling restart", conversation)
        now = {process.name: process.pid for process in system.directory.run().processes}
        assert not [name for name, pid in now.items() if pid == pids[name]]
        conversation.forget()
        await kill_a_leader(system)
        _show("killed leader", conversation)
        await conversation.end()
        await prove(system, conversation)
    assert all(len(one.acked) > 100 for one in conversation.clients)
