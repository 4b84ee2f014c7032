"""Read markers and unread counts (P15, AT-21, AT-25)."""

from __future__ import annotations

from tests.support.http import listed
from tests.support.peer import Peer
from tests.support.stack import Stack
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
