"""The life of a connection: hello, heartbeat, tokens, close codes (P4 to P10)."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest
import websockets

from edge.connections import SLICES
from tests.support.peer import Peer, new_id, token
from tests.support.stack import Stack


async def test_welcome(stack: Stack) -> None:
    """A good hello is answered with who, where, when and what is allowed (P6)."""
    async with Peer.opened(stack.url, "ann@example.org") as peer:
        welcome = peer.welcome
    assert (welcome["user"], welcome["workspace"], welcome["channels"]) == ("ann@example.org", "w", [])
    assert welcome["heartbeat_s"] <= 25
    assert welcome["limits"]["frame_bytes"] == 131072
    assert welcome["more"] is False


async def test_token_in_the_header(stack: Stack) -> None:
    """A token in the Authorization header is as good as one in hello (P5)."""
    headers = {"Authorization": f"Bearer {token('ann')}"}
    async with Peer.connect(stack.url, additional_headers=headers) as peer:
        await peer.send({"type": "hello"})
        assert (await peer.take("welcome"))["user"] == "ann"


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"type": "hello"}, 4500),
        ({"type": "hello", "token": "nonsense"}, 4500),
        ({"type": "hello", "token": token("ann")[:-3] + "abc"}, 4500),
        ({"type": "hello", "token": token("")}, 4500),
        ({"type": "hello", "token": token("ann", workspace="a.b")}, 4500),
        ({"type": "hello", "token": token("ann", ttl_s=-60)}, 4501),
        ({"type": "hello", "token": token("ann"), "version": 2}, 4503),
        ({"type": "send", "id": new_id(), "channel": "c", "text": "t"}, 4503),
        ("no json", 4503),
        ("[]", 4503),
        ({"type": "hello", "token": 7}, 4503),
    ],
)
async def test_bad_hello_is_terminal(stack: Stack, hello: dict[str, object] | str, code: int) -> None:
    """Who is not let in hears why, in an error and in `bye`, and need not come back as they are (P10)."""
    async with Peer.connect(stack.url) as peer:
        await peer.send(hello)
        error = await peer.take("error")
        bye = await peer.take("bye")
        assert await peer.closed() == code == bye["code"]
    assert error["message"]
    assert bye["resumable"] is False


async def test_hello_deadline(quick: str) -> None:
    """A connection that says nothing is closed, and may try again."""
    async with Peer.connect(quick) as peer:
        assert (await peer.take("bye"))["resumable"] is True
        assert await peer.closed() == 4400


async def test_silence_is_death(quick: str) -> None:
    """One and a half intervals without a frame end the session, resumably (P8, AT-59)."""
    async with Peer.opened(quick, "silent") as peer:
        await peer.take("ping")
        assert await peer.closed() == 4001


async def test_any_frame_is_life(quick: str) -> None:
    """A client that says anything at all stays, as long as it likes (P8)."""
    async with Peer.opened(quick, "lively") as peer:
        for _ in range(2):
            await peer.take("ping")
            await peer.send({"type": "pong"})
        assert not [frame for frame in peer.frames if frame["type"] == "bye"]


async def test_ping_names_heads(quick: str) -> None:
    """Heartbeats carry heads of the session's channels, so that a lost event is noticed (AT-02)."""
    async with Peer.opened(quick, "heads") as peer:
        peer.answers_pings = True
        await peer.do("create_channel", kind="public", name="h", channel="heads")
        await peer.take("channel")
        await peer.do("send", channel="heads", text="one")
        ping = await peer.take("ping")
        while not ping["heads"]:
            ping = await peer.take("ping")
    assert ping["heads"] in ({"heads": 1}, {"heads": 2})


async def test_token_expires_mid_session(quick: str) -> None:
    """A session does not outlive its token by more than the grace; the code is terminal (AT-60, AT-61)."""
    async with Peer.connect(quick) as peer:
        peer.answers_pings = True
        began_s = time.monotonic()
        await peer.send({"type": "hello", "token": token("brief", ttl_s=1)})
        assert await peer.closed() == 4501
        assert time.monotonic() - began_s >= 1.0


async def test_refresh_extends(quick: str) -> None:
    """A newer token of the same user keeps the session; another user's does not (P9)."""
    async with Peer.connect(quick) as peer:
        await peer.send({"type": "hello", "token": token("fresh", ttl_s=4)})
        await peer.take("welcome")
        await peer.send({"type": "refresh", "id": "r1", "token": token("other")})
        assert (await peer.answer("r1"))["code"] == "unauthorized"
        await peer.send({"type": "refresh", "id": "r2", "token": token("fresh", ttl_s=60)})
        await peer.take("refreshed", id="r2")
        for _ in range(3):
            await peer.take("ping")
            await peer.send({"type": "pong"})


@pytest.mark.parametrize(
    ("origin", "let_in"),
    [("https://chat.example", True), ("https://evil.example", False), ("null", False), (None, True)],
)
async def test_origin_list(quick: str, origin: str | None, let_in: bool) -> None:
    """Pages of foreign origins are refused at the upgrade; programs have no origin (P4, AT-75)."""
    headers = {"Origin": origin} if origin else {}
    if let_in:
        async with Peer.connect(quick, additional_headers=headers) as peer:
            await peer.send({"type": "hello", "token": token("page")})
            await peer.take("welcome")
    else:
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            async with Peer.connect(quick, additional_headers=headers):
                pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["code"] == "forbidden"


async def test_same_origin_without_a_list(stack: Stack) -> None:
    """Without a list only the edge's own pages may connect."""
    async with Peer.connect(stack.url, additional_headers={"Origin": stack.url}) as peer:
        await peer.send({"type": "hello", "token": token("page")})
        await peer.take("welcome")
    with pytest.raises(websockets.exceptions.InvalidStatus):
        async with Peer.connect(stack.url, additional_headers={"Origin": "http://127.0.0.1:1"}):
            pass


async def test_drain_sends_sessions_away(stack: Stack) -> None:
    """SIGTERM: everybody hears `bye` with a short delay, may resume, and the exit is clean (AT-68)."""
    edge = await stack.add_edge(PARLEY_DRAIN_S="0.5")
    address = stack.address(len(stack.edges) - 1)
    async with Peer.opened(address, "one") as one, Peer.opened(address, "two") as two:
        ended = asyncio.create_task(asyncio.to_thread(edge.kill, signal.SIGTERM))
        byes = [await peer.take("bye") for peer in (one, two)]
        assert [await peer.closed() for peer in (one, two)] == [4000, 4000]
    assert all(bye["resumable"] and 0 <= bye["retry_after_ms"] <= 500 / SLICES for bye in byes)
    assert await ended == 0
