"""Parley as it is shipped: NATS, sequencer, archiver and one edge; each listener is another member."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from urllib.parse import urlsplit

from tests.bench.load_client import LoadClient, fresh_id, open_session
from tests.bench.peers.peer import Encode, Peer
from tests.bench.system import System, running

CHANNEL = "fan-out"
INVITES_AT_ONCE = 100


@contextlib.asynccontextmanager
async def parley(listeners: int, _: Encode) -> AsyncIterator[Peer]:
    """One channel; its owner, whose session hears everything too, publishes. A stranger to it probes."""
    async with running() as system:
        owner = await open_session(system.edges[0], system.token("owner"))
        prober = await open_session(system.edges[0], system.token("prober"))
        users = [f"f{number:05d}" for number in range(listeners)]
        await _create(owner, users)

        async def publish(texts: Sequence[str]) -> None:
            for text in texts:
                owner.send_message(CHANNEL, text)
            await asyncio.sleep(0)

        async def probed_ms() -> float:
            answers = len(prober.probe_ns)
            prober.probe()
            await prober.until(lambda: len(prober.probe_ns) > answers)
            return prober.probe_ns[-1] / 1e6

        yield Peer(
            pid=system.pid("edge-1"),
            port=urlsplit(system.edges[0]).port or 80,
            publish=publish,
            arguments=[(system.token(user), CHANNEL) for user in users],
            dialect="parley",
            others=_others(system),
            probed_ms=probed_ms,
        )
        assert not owner.errors, f"the edge refused: {owner.last_error}"
        owner.close()
        prober.close()


async def _create(owner: LoadClient, users: Sequence[str]) -> None:
    await owner.ask({"type": "create_channel", "kind": "public", "channel": CHANNEL, "name": CHANNEL})
    rest = iter(users)
    while some := list(islice(rest, INVITES_AT_ONCE)):
        answers = [
            owner.submit({"type": "invite", "id": fresh_id(), "channel": CHANNEL, "user": user})
            for user in some
        ]
        for answer in await asyncio.gather(*answers):
            assert answer["type"] == "ack", answer


def _others(system: System) -> dict[str, int]:
    return {"nats": system.pid("nats-1")}
