"""A NATS server in a container is as good as a process: all other tests may run against it.

`PARLEY_TEST_NATS=container uv run pytest tests/shared tests/sequencer` does that; this one always tries.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.ids import Partition
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import log_stream
from tests.support import container
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A container of this test alone."""
    if reason := container.missing():
        pytest.skip(reason)
    server = container.ContainerServer(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_what_is_stored_survives_the_container(server: NatsServer, end: str) -> None:
    """Streams and messages are there again, in the same epoch, and the same id is still the same message."""
    settings = CommonSettings(nats_url=server.url, partitions=2)
    async with Bus.connect(settings, "test") as bus:
        before = await ensure_streams(bus, settings)
        first = await bus.commit("channel.0.w.c", b"a", msg_id="c/1")
        (server.kill if end == "kill" else server.stop)()
        await eventually(lambda: not bus.connected)
        server.start()
        await eventually(lambda: bus.connected, within_s=30)
        assert (await ensure_streams(bus, settings)).epochs == before.epochs
        again = await bus.commit("channel.0.w.c", b"a", msg_id="c/1")
        assert (again.stream_seq, again.duplicate) == (first.stream_seq, True)
        stored = await bus.stored(log_stream(Partition(0)), first.stream_seq)
        assert stored is not None
        assert stored.body == b"a"
