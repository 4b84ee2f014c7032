"""The SDK against the real edge: what it promises holds through kills, refusals and absences."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from infra.cli.access import socket_url
from infra.proof.check import check
from shared.bus import Bus
from shared.client import (
    Ack,
    ChannelEvent,
    Client,
    Gap,
    Membership,
    ReadMoved,
    Resumed,
    SessionEnded,
    Typing,
    Update,
    Verifier,
)
from shared.errors import ClockSkew, Conflict, Forbidden, NotFound
from shared.ids import new_command_id, workspace_id
from tests.support.peer import WORKSPACE, new_id, token
from tests.support.stack import PARTITIONS, Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@contextlib.asynccontextmanager
async def client_of(
    stack: Stack, user: str, *, edges: tuple[int, ...] = (0, 1), scope: str = "", **options: object
) -> AsyncIterator[tuple[Client, list[Update]]]:
    """A client of a user, with everything that it hears."""
    heard: list[Update] = []
    urls = [socket_url(stack.address(edge)) for edge in edges]
    client = Client(urls, token(user, scope=scope), on_update=heard.append, **options)  # type: ignore[arg-type]
    async with asyncio.timeout(60), client:
        yield client, heard


def seqs(heard: list[Update], channel: str) -> list[int]:
    return [u.seq for u in heard if isinstance(u, ChannelEvent) and u.channel == channel]


async def test_send_and_hear(stack: Stack) -> None:
    """Two users on two edges: what one sends, both hear, in order, with its number."""
    async with (
        client_of(stack, "anna", edges=(0,)) as (anna, by_anna),
        client_of(stack, "ben", edges=(1,)) as (ben, by_ben),
    ):
        await anna.create_channel("public", "tea", channel="hear", members=["ben"])
        await eventually(lambda: "hear" in ben.channels)
        acks = [await anna.send("hear", "one"), await ben.send("hear", "two")]
        assert [ack.seq for ack in acks] == [2, 3]
        await eventually(lambda: seqs(by_anna, "hear")[-2:] == [2, 3] and seqs(by_ben, "hear")[-2:] == [2, 3])


async def test_same_id_same_message(stack: Stack) -> None:
    """The same id twice is one message, on any edge; another body a conflict (P12, AT-17)."""
    async with client_of(stack, "anna", edges=(0,)) as (a, _), client_of(stack, "anna", edges=(1,)) as (b, _):
        await a.create_channel("public", "tea", channel="twice")
        command = new_id()
        first = await a.send("twice", "x", id=command)
        second = await b.send("twice", "x", id=command)
        assert (first.seq, first.duplicate, second.seq, second.duplicate) == (2, False, 2, True)
        with pytest.raises(Conflict):
            await b.send("twice", "y", id=command)


async def test_refusals_are_errors_of_the_tree(stack: Stack) -> None:
    """Stable codes become exceptions: a future id, somebody else's message, a channel that is not there."""
    async with client_of(stack, "anna") as (anna, _), client_of(stack, "ben") as (ben, _):
        await anna.create_channel("public", "tea", channel="refuse", members=["ben"])
        await anna.send("refuse", "mine")
        with pytest.raises(ClockSkew):
            await anna.send("refuse", "x", id=new_command_id(int(time.time() * 1000) + 3_600_000))
        with pytest.raises(Forbidden):
            await ben.edit("refuse", 2, "yours")
        with pytest.raises(NotFound):
            await ben.send("nowhere", "x")


async def test_pipelined_sends_keep_their_order(stack: Stack) -> None:
    """Hundreds of sends without waiting are in the log in the order in which they were given (P13, AT-16)."""
    async with client_of(stack, "anna") as (anna, _):
        await anna.create_channel("public", "tea", channel="order")
        acks: list[Ack] = await asyncio.gather(*(anna.post("send", "order", text=str(n)) for n in range(300)))
        assert [ack.seq for ack in acks] == list(range(2, 302))


async def test_rate_limit_is_waited_out_in_order(stack: Stack) -> None:
    """Refused with `rate_limited`, commands go again by themselves; with a window of one in order (P18)."""
    edge = await stack.add_edge(PARLEY_USER_RATE="20", PARLEY_USER_BURST="5")
    index = stack.edges.index(edge)
    async with client_of(stack, "slow", edges=(index,), window=1) as (client, _):
        await client.create_channel("public", "tea", channel="slow")
        acks = await asyncio.gather(*(client.post("send", "slow", text=str(n)) for n in range(20)))
        assert [ack.seq for ack in acks] == list(range(2, 22))


async def test_edges_are_killed_while_sending(stack: Stack, log_bus: Bus) -> None:
    """kill -9 under load: every send is acked once, every listener has everything, log = clients (AT-12)."""
    first, second = await stack.add_edge(), await stack.add_edge()
    edges = (stack.edges.index(first), stack.edges.index(second))
    verifiers = [Verifier(f"listener-{n}") for n in range(3)]
    async with contextlib.AsyncExitStack() as clients:
        sender, _ = await clients.enter_async_context(client_of(stack, "killer", edges=edges))
        users = [verifier.name for verifier in verifiers]
        await sender.create_channel("public", "tea", channel="killed", members=users)
        for verifier in verifiers:
            _, heard = await clients.enter_async_context(
                client_of(stack, verifier.name, edges=edges, start="beginning")
            )
            heard_client = Client(
                [socket_url(stack.address(edge)) for edge in edges],
                token(verifier.name),
                on_update=verifier.record,
                start="beginning",
            )
            await clients.enter_async_context(heard_client)
            assert heard is not None
        sends = [sender.post("send", "killed", text=str(n)) for n in range(600)]
        for edge in (first, second):
            await eventually(lambda: sum(send.done() for send in sends) > 50)
            edge.kill()
            await edge.start()
        acks = await asyncio.gather(*sends)
        assert sorted(ack.seq for ack in acks) == list(range(2, 602))
        head = max(ack.seq for ack in acks)
        await eventually(lambda: all(v.channels["killed"].last == head for v in verifiers))
    report = await check(
        log_bus,
        stack.folder / "archive",
        int(PARTITIONS),
        workspace=workspace_id(WORKSPACE),
        verifiers=verifiers,
    )
    assert report.clean, report.named
    assert report.client_events == 3 * head


async def test_saved_cursors_bring_exactly_what_was_missed(stack: Stack) -> None:
    """A client that comes back with its cursors hears everything since, each once, and how much (AT-14)."""
    async with client_of(stack, "anna") as (anna, _):
        await anna.create_channel("public", "tea", channel="missed")
        await eventually(lambda: anna.cursors.get("missed", (0, 0))[1] == 1)  # type: ignore[call-overload]
        cursors = anna.cursors
    async with client_of(stack, "anna") as (other, _):
        for n in range(5):
            await other.send("missed", str(n))
    async with client_of(stack, "anna", cursors={c: cursors[c] for c in cursors if c == "missed"}) as (
        _,
        heard,
    ):
        await eventually(lambda: seqs(heard, "missed") == [2, 3, 4, 5, 6])
        await eventually(lambda: any(isinstance(u, Resumed) and u.count == 5 for u in heard))


async def test_a_hole_that_the_server_names_reaches_the_caller(stack: Stack) -> None:
    """More missed than the server replays: a gap with its bounds, then what follows (P7, AT-20b)."""
    edge = await stack.add_edge(PARLEY_REPLAY_EVENTS_MAX="20")
    async with client_of(stack, "anna", edges=(stack.edges.index(edge),)) as (anna, heard):
        await anna.create_channel("public", "tea", channel="far")
        await asyncio.gather(*(anna.post("send", "far", text=str(n)) for n in range(50)))
        await eventually(lambda: seqs(heard, "far")[-1:] == [51])
        anna.follow_from("far", 0)
        await eventually(lambda: any(isinstance(u, Gap) and u.channel == "far" for u in heard))
        gap = next(u for u in heard if isinstance(u, Gap))
        assert (gap.after, gap.upto, gap.reason) == (0, 51, "too_far")
        await anna.send("far", "next")
        await eventually(lambda: seqs(heard, "far")[-1:] == [52])


async def test_removed_member_hears_the_removal_and_nothing_after(stack: Stack) -> None:
    """The last event is the removal; then the client is told, and stops following (P21, AT-62)."""
    async with client_of(stack, "anna") as (anna, _), client_of(stack, "ben") as (ben, heard):
        await anna.create_channel("private", "secret", members=["ben"])
        await eventually(lambda: any(info["kind"] == "private" for info in ben.channels.values()))
        channel = next(c for c, info in ben.channels.items() if info["kind"] == "private")
        removal = await anna.kick(channel, "ben")
        await anna.send(channel, "without ben")
        await eventually(lambda: Membership(channel, None) in heard)
        assert seqs(heard, channel)[-1] == removal.seq
        assert channel not in ben.channels
        with pytest.raises(NotFound):
            await ben.send(channel, "let me in")


async def test_typing_and_read_marks(stack: Stack) -> None:
    """Typing reaches the others, a read mark the user's own sessions (P15, P16)."""
    async with (
        client_of(stack, "anna") as (anna, _),
        client_of(stack, "anna") as (_, also_anna),
        client_of(stack, "ben") as (ben, by_ben),
    ):
        await anna.create_channel("public", "tea", channel="read", members=["ben"])
        await eventually(lambda: "read" in ben.channels)
        await anna.typing("read")
        await eventually(lambda: any(isinstance(u, Typing) and u.user == "anna" for u in by_ben))
        await anna.send("read", "x")
        await anna.read("read", 2)
        await eventually(lambda: any(isinstance(u, ReadMoved) and u.seq == 2 for u in also_anna))


async def test_bad_token_is_final(stack: Stack) -> None:
    """A token that nobody signed ends the client at once (AT-61)."""
    client = Client(socket_url(stack.url), "nonsense")
    with pytest.raises(SessionEnded):
        async with asyncio.timeout(30), client:
            pass


async def test_slow_consumer_gets_everything(stack: Stack) -> None:
    """`events()` with a tiny buffer and a busy channel: 1, 2, 3 … without a hole."""
    async with client_of(stack, "anna") as (anna, _):
        await anna.create_channel("public", "tea", channel="drip", members=["drip"])
        url = socket_url(stack.url)
        async with asyncio.timeout(60), Client(url, token("drip"), start="beginning", updates_max=8) as slow:
            await asyncio.gather(*(anna.post("send", "drip", text=str(n)) for n in range(200)))
            got = []
            async for update in slow.events():
                if isinstance(update, ChannelEvent):
                    got.append(update.seq)
                if got and got[-1] == 201:
                    break
            assert got == list(range(1, 202))
