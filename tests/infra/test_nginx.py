"""`infra/nginx.conf` with a real nginx: idle sessions live, refusals and origins come through."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import websockets

from edge.settings import EdgeSettings
from tests.support.http import fetch
from tests.support.nginx import CONF, needs_nginx, running_nginx
from tests.support.peer import Peer, token
from tests.support.stack import Stack, running_stack

READ_TIMEOUT_S = 8
HEARTBEAT_S = 3
TIMEOUTS_LIVED = 3


def test_heartbeats_come_before_any_time_out() -> None:
    """The longest interval that an edge can be given is shorter than what nginx waits for."""
    waits_s = [
        int(found) for found in re.findall(r"^\s*proxy_read_timeout (\d+)s;", CONF.read_text(), re.MULTILINE)
    ]
    assert len(waits_s) == 2
    field = EdgeSettings.model_fields["heartbeat_s"]
    longest_s = next(bound.le for bound in field.metadata if hasattr(bound, "le"))
    assert field.default <= longest_s < min(waits_s)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """An edge with quick heartbeats, and one with slow ones that takes one session."""
    async with running_stack(
        tmp_path_factory.mktemp("stack"), PARLEY_HEARTBEAT_S=str(HEARTBEAT_S)
    ) as running:
        await running.add_edge(PARLEY_HEARTBEAT_S="25", PARLEY_SESSIONS_MAX="1")
        yield running


@needs_nginx
@pytest.mark.faults
@pytest.mark.system
@pytest.mark.asyncio(loop_scope="module")
async def test_an_idle_session_lives_behind_nginx(stack: Stack, tmp_path: Path) -> None:
    """It says nothing but pong for several read time-outs; then what it sends arrives, in both directions."""
    edge = stack.edges[0].port
    async with (
        running_nginx(tmp_path / "nginx", [edge], read_timeout_s=READ_TIMEOUT_S) as url,
        Peer.opened(url, "ann") as ann,
        Peer.opened(url, "bob") as bob,
    ):
        await ann.do("create_channel", kind="public", name="idle", channel="idle")
        await bob.do("join", channel="idle")
        await bob.take("channel", member=True)
        ann.answers_pings = bob.answers_pings = True
        for _ in range(TIMEOUTS_LIVED * READ_TIMEOUT_S // HEARTBEAT_S + 1):
            await ann.take("ping")
            await bob.take("ping")
        seq = (await ann.do("send", channel="idle", text="still here"))["seq"]
        assert (await bob.event("idle", seq))["text"] == "still here"


@needs_nginx
@pytest.mark.faults
@pytest.mark.system
@pytest.mark.asyncio(loop_scope="module")
async def test_what_an_edge_says_comes_through_nginx(stack: Stack, tmp_path: Path) -> None:
    """Refusals with Retry-After, the page's own origin, the page; metrics do not; silence ends a session."""
    slow = stack.edges[1].port
    async with running_nginx(tmp_path / "nginx", [slow], read_timeout_s=READ_TIMEOUT_S) as url:
        assert await _refused(url, origin="https://elsewhere.example") == (403, None)
        async with Peer.connect(url, origin=url) as ann:
            await ann.send({"type": "hello", "token": token("ann")})
            await ann.take("welcome")
            status, retry_after = await _refused(url)
            assert (status, int(retry_after or 0) > 0) == (503, True)
            page = fetch(url, None, "/")
            assert (page.status, b"<html" in page.body) == (200, True)
            assert fetch(url, None, "/metrics").status == 404
            assert fetch(url, "ann", "/v1/channels").status == 200
            assert await ann.closed() == 1006


async def _refused(url: str, **options: object) -> tuple[int, str | None]:
    """Status and Retry-After."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        async with Peer.connect(url, **options):
            pass
    response = refused.value.response
    return response.status_code, response.headers.get("Retry-After")
