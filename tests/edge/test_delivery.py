"""What a session is sent: live events, and everything behind its cursors (P7, P19, P20)."""

from __future__ import annotations

from tests.support.peer import Peer
from tests.support.stack import Stack


async def test_events_are_the_same_bytes_for_everybody(stack: Stack) -> None:
    """Every member sees every event once, in order, with the same content, on both edges (P19, P20)."""
    async with (
        Peer.opened(stack.url, "all-a") as ann,
        Peer.opened(stack.address(1), "all-b") as bob,
        Peer.opened(stack.url, "all-b", batch=True) as bob_again,
    ):
        await ann.do("create_channel", kind="public", name="e", channel="all")
        await bob.do("join", channel="all")
        for peer in (bob, bob_again):
            await peer.take("channel")
        last = 0
        for number in range(20):
            last = (await ann.do("send", channel="all", text=f"é{number}"))["seq"]
        seen = [
            [await peer.event("all", seq) for seq in range(3, last + 1)] for peer in (ann, bob, bob_again)
        ]
        assert seen[0] == seen[1] == seen[2]


async def test_resume(quick: str) -> None:
    """A cursor is answered with exactly what follows it, or a named gap, or a reset (P7, AT-20b)."""
    async with Peer.opened(quick, "res") as peer:
        peer.answers_pings = True
        await peer.do("create_channel", kind="public", name="r", channel="res")
        epoch = (await peer.take("channel"))["channel"]["epoch"]
        for number in range(14):
            await peer.do("send", channel="res", text=str(number))
    cursor = {"epoch": epoch, "seq": 3}
    async with Peer.opened(quick, "res", cursors={"res": cursor, "nowhere": cursor}) as peer:
        peer.answers_pings = True
        done = await peer.take("resumed", channel="res")
        assert (done["from"], done["to"], done["complete"], done["count"]) == (3, 15, True, 12)
        events = [frame["seq"] for frame in peer.frames if frame["type"] == "event"]
        assert events == list(range(4, 16))
        refused = await peer.take("resumed", channel="nowhere")
        assert (refused["complete"], refused["gap"]["reason"]) == (False, "forbidden")
        for seq in (3, 15):
            await peer.send({"type": "resume", "cursors": {"res": {"epoch": "other", "seq": seq}}})
            reset = await peer.take("reset")
            assert (reset["reason"], reset["epoch"], reset["head"]) == ("foreign_epoch", epoch, 15)
        await peer.send({"type": "resume", "cursors": {"res": {"epoch": epoch, "seq": 15}}})
        assert (await peer.take("resumed", channel="res"))["count"] == 0


async def test_who_missed_nothing_goes_on(quick: str) -> None:
    """A cursor at the head is answered as any other, and what comes next comes once."""
    async with Peer.opened(quick, "ona") as ona:
        ona.answers_pings = True
        await ona.do("create_channel", kind="public", name="n", channel="missed")
        epoch = (await ona.take("channel"))["channel"]["epoch"]
        async with Peer.opened(quick, "ona", cursors={"missed": {"epoch": epoch, "seq": 1}}) as again:
            again.answers_pings = True
            for seq in range(1, 4):
                answer = await again.take("resumed", channel="missed")
                assert (answer["from"], answer["to"], answer["complete"], answer["count"]) == (
                    seq,
                    seq,
                    True,
                    0,
                )
                assert (await ona.do("send", channel="missed", text="next"))["seq"] == seq + 1
                assert (await again.event("missed", seq + 1))["text"] == "next"
                await again.send({"type": "resume", "cursors": {"missed": {"epoch": epoch, "seq": seq + 1}}})
            assert not [frame for frame in await again.quiet() if frame["type"] == "event"]


async def test_resume_across_edges_from_the_archive(stack: Stack) -> None:
    """A cursor of one edge is good on another that never saw the channel (AT-07, AT-12)."""
    async with Peer.opened(stack.url, "far") as peer:
        await peer.do("create_channel", kind="public", name="f", channel="far")
        epoch = (await peer.take("channel"))["channel"]["epoch"]
        texts = [str(number) for number in range(60)]
        for text in texts:
            await peer.do("send", channel="far", text=text)
    async with Peer.opened(
        stack.address(1), "far", batch=True, cursors={"far": {"epoch": epoch, "seq": 0}}
    ) as peer:
        done = await peer.take("resumed", channel="far")
        assert (done["count"], done["complete"]) == (61, True)
        events = [frame for frame in peer.frames if frame["type"] == "event"]
    assert [event["seq"] for event in events] == list(range(1, 62))
    assert [event["text"] for event in events[1:]] == texts
