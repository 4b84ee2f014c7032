"""A connection that is up and silent is found out, by whoever still wants something of it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from shared.bus import Bus
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.chaos.proxy import HOST, Proxy

COMMIT_S = 25.0
"""What the edge waits for a commit."""


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
