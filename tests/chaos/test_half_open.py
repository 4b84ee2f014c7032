"""A connection that is up and silent is found out, by whoever still wants something of it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from archiver.api import QUEUE
from infra.nats.config import NatsNode, server_config, write_config
from infra.nats.permissions import USERS
from shared.bus import Bus
from shared.errors import Unavailable
from shared.ids import Partition
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import archive_subject
from tests.chaos.proxy import HOST, Proxy
from tests.support.nats import NatsServer
from tests.support.ports import own_port
from tests.support.waiting import eventually

COMMIT_S = 25.0
"""What the edge waits for a commit."""

GIVEN_UP_S = 40.0
"""More than twice the time after which a server gives up who does not answer; with 20 s pings it was 60 s."""

PASSWORDS = {user: f"secret-{user}" for user in USERS}


@pytest.mark.faults
async def test_a_commit_outlives_a_half_open_connection(fresh_settings: CommonSettings) -> None:
    """Bytes to NATS vanish, the connection stays up: the commit is stored over another one, in time, once.

    Found by `just chaos --seed 7`: clients were told `unknown` after 25 s of silence, because only after 30 s
    was the connection given up.
    """
    async with Bus.connect(fresh_settings, "direct") as bus:
        await ensure_streams(bus, fresh_settings)
    port = urlsplit(fresh_settings.nats_url).port
    assert port is not None
    proxy = Proxy(port)
    through = fresh_settings.model_copy(update={"nats_url": f"nats://{HOST}:{proxy.port}"})
    try:
        async with Bus.connect(through, "through") as bus:
            proxy.half_open("both")
            ack = await bus.commit("channel.0.w.c", b"a", msg_id="c/1", deadline_s=COMMIT_S)
            assert ack.stream_seq == 1
    finally:
        await proxy.close()


@pytest.mark.faults
async def test_requests_reach_an_archiver_that_has_come_back(tmp_path: Path) -> None:
    """Its old connection, which nobody answers any more, does not keep its share of them for long.

    Found by `just chaos --seed 1`: late ids waited for 55 s, because a server pinged every 20 s.
    """
    node = NatsNode("nats-1", own_port(), own_port(), tmp_path / "store")
    path = tmp_path / "nats.conf"
    write_config(
        path,
        server_config(node, passwords=PASSWORDS, route_password="", partitions=1, durability="process"),
    )
    server, proxy = NatsServer(tmp_path, config=path, port=node.port), Proxy(node.port)
    server.start()

    def settings(user: str, port: int) -> CommonSettings:
        url = f"nats://{HOST}:{port}"
        return CommonSettings(nats_url=url, nats_user=user, nats_password=PASSWORDS[user])

    async def answer(body: bytes) -> bytes:
        return body

    async def is_answered(edge: Bus) -> bool:
        """As often as leaves no doubt that nobody else is asked."""
        try:
            for _ in range(20):
                await edge.request(subject, b"?", timeout_s=1.0)
        except Unavailable:
            return False
        return True

    subject = archive_subject(Partition(0), "history")
    try:
        async with (
            Bus.connect(settings("archiver", proxy.port), "archiver") as archiver,
            Bus.connect(settings("edge", node.port), "edge") as edge,
        ):
            await archiver.serve(subject, answer, queue=QUEUE)
            await eventually(lambda: is_answered(edge))
            proxy.half_open("both")
            assert not await is_answered(edge)
            await eventually(lambda: is_answered(edge), within_s=GIVEN_UP_S)
    finally:
        await proxy.close()
        server.kill()
