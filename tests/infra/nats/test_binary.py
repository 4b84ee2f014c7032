"""The server fixture that every other test builds on."""

from __future__ import annotations

from shared.bus import Bus
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.nats import NatsServer
from tests.support.waiting import eventually


async def test_streams_survive_a_kill(
    fresh_nats_server: NatsServer, fresh_settings: CommonSettings, fresh_bus: Bus
) -> None:
    """What was stored before kill -9 is there after the restart, on the same address."""
    await ensure_streams(fresh_bus, fresh_settings)
    first = await fresh_bus.commit("channel.0.w.c", b"{}", msg_id="1")
    fresh_nats_server.restart()
    await eventually(lambda: fresh_bus.connected)
    again = await fresh_bus.commit("channel.0.w.c", b"{}", msg_id="1")
    assert (again.stream_seq, again.duplicate) == (first.stream_seq, True)


async def test_bus_is_connected(bus: Bus) -> None:
    """The bus fixture talks to the module's server."""
    assert bus.connected
