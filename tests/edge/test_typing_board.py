"""Who types (P16)."""

from __future__ import annotations

from tests.support.peer import Peer


async def test_typing(quick: str) -> None:
    """Members see who types; strangers cannot say it, large channels do not show it (P16, AT-30, AT-31)."""
    async with (
        Peer.opened(quick, "typ-a") as ann,
        Peer.opened(quick, "typ-b") as bob,
        Peer.opened(quick, "typ-c") as eve,
    ):
        for peer in (ann, bob, eve):
            peer.answers_pings = True
        await ann.do("create_channel", kind="public", name="t", channel="typ")
        await bob.do("join", channel="typ")
        await bob.take("channel")
        await ann.send({"type": "typing", "channel": "typ"})
        assert (await bob.take("typing"))["user"] == "typ-a"
        await eve.send({"type": "typing", "id": "e", "channel": "typ"})
        assert (await eve.answer("e"))["code"] == "forbidden"
        await eve.do("join", channel="typ")
        await eve.take("channel")
        await bob.send({"type": "typing", "channel": "typ"})
        await bob.do("send", channel="typ", text="three members are too many here")
        await eve.event("typ", 4)
        frames = [frame for peer in (ann, eve) for frame in await peer.quiet()]
        assert not [frame for frame in frames if frame["type"] == "typing"]
