"""Read markers and unread counts (P15, AT-21, AT-25)."""

from __future__ import annotations

import asyncio

import pytest

from edge.breakers import Breakers
from edge.core.breaker import Bounds
from edge.reads import Reads, read_frame, standing, unread
from shared.errors import Unavailable
from shared.ids import Epoch, Seq
from shared.records import ReadMarker
from shared.subjects import READS, bucket_stream, kv_subject, read_key
from tests.support.http import listed
from tests.support.peer import Peer
from tests.support.recording import ANN, BOB, Edge, posted
from tests.support.stack import Stack
from tests.support.storing import put
from tests.support.waiting import eventually


async def test_read_markers(stack: Stack) -> None:
    """Reading moves forward only, reaches the user's other sessions; unread is arithmetic (P15, AT-25)."""
    async with Peer.opened(stack.url, "read-a") as ann, Peer.opened(stack.url, "read-b") as bob:
        await ann.do("create_channel", kind="public", name="r", channel="read")
        await bob.do("join", channel="read")
        await bob.take("channel")
        for number in range(10):
            await ann.do("send", channel="read", text=str(number))
        await ann.do("react", channel="read", ref=3, emoji="👍")
        await eventually(lambda: listed(stack.url, "read-b", "read"))
        async with Peer.opened(stack.address(1), "read-b") as elsewhere:
            channel = elsewhere.welcome["channels"][0]
            assert (channel["head"], channel["read"], channel["unread"]) == (13, 0, 10)
            await bob.send({"type": "read", "channel": "read", "seq": 7})
            for peer in (bob, elsewhere):
                marker = await peer.take("read", channel="read")
                assert (marker["seq"], marker["unread"]) == (7, 5)
            await elsewhere.send({"type": "read", "channel": "read", "seq": 4})
            assert (await bob.take("read"))["seq"] == 7
            await elsewhere.send({"type": "read", "channel": "read", "seq": 999})
            marker = await bob.take("read")
            assert (marker["seq"], marker["unread"]) == (13, 0)
        await bob.send({"type": "read", "id": "x", "channel": "nowhere", "seq": 1})
        assert (await bob.answer("x"))["code"] == "not_found"


async def test_unread_begins_with_the_membership(stack: Stack) -> None:
    """What was said before a user came, by joining or by invitation, is not unread for them (AT-21)."""
    async with (
        Peer.opened(stack.url, "new-ann") as ann,
        Peer.opened(stack.url, "new-bob") as bob,
        Peer.opened(stack.address(1), "new-eve") as eve,
    ):
        await ann.do("create_channel", kind="public", name="n", channel="new")
        for number in range(5):
            await ann.do("send", channel="new", text=str(number))
        joined = (await bob.do("join", channel="new"))["seq"]
        invited = (await ann.do("invite", channel="new", user="new-eve"))["seq"]
        for peer, seq in ((bob, joined), (eve, invited)):
            info = (await peer.take("channel"))["channel"]
            assert (info["read"], info["unread"]) == (seq, 0)
        await ann.do("send", channel="new", text="hello both")
        await eventually(lambda: listed(stack.url, "new-eve", "new"))
        async with Peer.opened(stack.url, "new-eve") as again:
            assert again.welcome["channels"][0]["unread"] == 1


async def test_a_marker_that_stands_costs_no_count(edge: Edge) -> None:
    """Messages are counted, in the archive if need be, only for a marker that moves."""
    feed = await edge.channel("old-marker")
    for number in range(40):  # more than the ring holds
        await edge.publisher.record(feed, posted(str(number)))
    breakers = Breakers([bucket_stream(READS)], Bounds(), in_flight_max=10, reachable=lambda: True)
    reads = Reads(edge.bus, edge.archive, breakers, spawn=edge.feeds.spawn)
    moved = await reads.mark(feed, BOB, feed.head)
    assert (moved.seq, moved.messages) == (41, 40)
    assert await reads.mark(feed, BOB, Seq(3)) == moved  # nobody serves the archive here
    with pytest.raises(Unavailable):
        await reads.mark(feed, ANN, Seq(3))


async def test_the_farther_of_two_sessions_wins(edge: Edge) -> None:
    """Marks that are made at once end at the farthest, and each of them says where the marker stands."""
    feed = await edge.channel("both-read")
    for number in range(10):
        await edge.publisher.record(feed, posted(str(number)))
    breakers = Breakers([bucket_stream(READS)], Bounds(), in_flight_max=10, reachable=lambda: True)
    reads = Reads(edge.bus, edge.archive, breakers, spawn=edge.feeds.spawn)
    marks = await asyncio.gather(*(reads.mark(feed, BOB, Seq(seq)) for seq in (5, 9, 2, 11, 7)))
    assert all(mark.seq >= seq for mark, seq in zip(marks, (5, 9, 2, 11, 7), strict=True))
    assert (await reads.mark(feed, BOB, Seq(1))).seq == 11


async def test_a_marker_of_another_epoch_says_nothing(edge: Edge) -> None:
    """What was read in a log that was replaced may be gone: all is unread, reading begins anew (AT-21)."""
    feed = await edge.channel("re-read")
    for text in "abc":
        await edge.publisher.record(feed, posted(text))
    key = kv_subject(READS, read_key(feed.key.workspace, ANN, feed.key.channel))
    old = ReadMarker(channel=feed.key.channel, seq=Seq(9), messages=8, epoch=Epoch("before"))
    await put(edge.bus, key, old.model_dump_json().encode())
    breakers = Breakers(
        [bucket_stream(READS)], Bounds(), in_flight_max=10, reachable=lambda: edge.bus.connected
    )
    reads = Reads(edge.bus, edge.archive, breakers, spawn=edge.feeds.spawn)
    found = (await reads.markers(feed.key.workspace, ANN, [feed.key.channel]))[feed.key.channel]
    frame = read_frame(feed, found)
    assert (standing(feed, found), frame.seq, frame.unread) == (None, 0, 3)
    moved = await reads.mark(feed, ANN, Seq(3))
    assert (moved.seq, moved.epoch, unread(feed, moved)) == (3, feed.epoch, 1)
    assert await reads.mark(feed, ANN, Seq(2)) == moved
