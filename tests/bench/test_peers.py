"""The servers of `fan-out` that need no package of others: they deliver, and what is missing is told."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import orjson
import pytest

from tests.bench import fan_out
from tests.bench.listeners import listeners
from tests.bench.marks import marked
from tests.bench.peers import centrifugo, plain
from tests.bench.peers.peer import Encode, Peer, Skipped, install

DEADLINE_S = 60.0
LISTENERS = 3
Start = Callable[[int, Encode], AbstractAsyncContextManager[Peer]]


@pytest.mark.parametrize("start", [plain.send_loop, plain.starlette_loop, plain.websockets_broadcast])
async def test_every_listener_is_sent_every_message(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one and at once, small frames and large, in order; a skipped number is noticed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if start is plain.send_loop and not shutil.which("cc"):
        pytest.skip("no C compiler")
    async with start(LISTENERS, str.encode) as peer, listeners() as crowd:
        await crowd.open(peer.port, peer.dialect, peer.arguments)
        await peer.publish([marked(1, "x" * 20)])
        assert (await crowd.reach(1, DEADLINE_S)).behind == 0
        await peer.publish([marked(number, "x" * 300) for number in range(2, 12)])
        reached = await crowd.reach(11, DEADLINE_S)
        assert (reached.behind, reached.fault) == (0, "")
        await peer.publish([marked(13, "x" * 300)])
        assert (await crowd.reach(13, DEADLINE_S)).fault == "13 after 11"


async def test_a_message_that_does_not_come_is_told() -> None:
    """Who waits in vain hears how many are behind."""
    async with plain.websockets_broadcast(LISTENERS, str.encode) as peer, listeners() as crowd:
        await crowd.open(peer.port, peer.dialect, peer.arguments)
        assert (await crowd.reach(1, 0.1)).behind == LISTENERS


async def test_a_server_that_ends_is_told_at_once() -> None:
    """Nobody waits for the deadline when connections are closed; that would be minutes."""
    async with listeners() as crowd:
        async with plain.websockets_broadcast(LISTENERS, str.encode) as peer:
            await crowd.open(peer.port, peer.dialect, peer.arguments)
        async with asyncio.timeout(DEADLINE_S):
            reached = await crowd.reach(1, 1000.0)
        assert (reached.behind, reached.fault) == (LISTENERS, "closed")


@pytest.mark.parametrize("start", [plain.send_loop, plain.ws, plain.socket_io, centrifugo.centrifugo])
async def test_what_is_missing_is_told(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compiler, npm or Go a peer is left out, by name of what it needs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Skipped, match="is not installed"):
        async with start(LISTENERS, str.encode):
            pass


async def test_what_cannot_be_built_is_told() -> None:
    """With the last thing that the tool said."""
    with pytest.raises(Skipped, match=r"it cannot be installed: no network$"):
        await install("it", ["sh", "-c", "echo first >&2; echo no network >&2; exit 1"])


def test_a_batch_for_centrifugo_holds_the_messages_in_order() -> None:
    """The data of each publication is the event itself, not a string that holds it."""
    body = orjson.loads(centrifugo.batch([fan_out.message("one"), fan_out.message("two")]))
    published = [command["publish"] for command in body["commands"]]
    assert [one["data"]["text"] for one in published] == ["one", "two"]
    assert {one["channel"] for one in published} == {"fan-out"}


def test_requests_to_centrifugo_are_bounded_by_their_deliveries() -> None:
    """Whatever the audience, each message is in one of them, in order."""
    messages = [b"%d" % number for number in range(22)]
    for listeners_count, largest in ((1000, 22), (9000, 5), (1_000_000, 1)):
        requests = list(centrifugo.parts(messages, listeners_count))
        assert max(map(len, requests)) == largest
        assert [message for some in requests for message in some] == messages
