"""What concerns one user reaches all of their sessions on every edge, and nobody else's (P9, P15)."""

from __future__ import annotations

import asyncio

from shared.bus import Bus
from shared.ids import UserId, WorkspaceId
from shared.settings import CommonSettings
from shared.subjects import user_subject
from tests.support.peer import WORKSPACE, Peer
from tests.support.stack import Stack

REVOKED_WITHIN_S = 1.0


def subject(user: str, what: str) -> str:
    """Where a user's sessions listen."""
    return user_subject(WorkspaceId(WORKSPACE), UserId(user), what)


async def test_a_revoked_user_is_out_at_once(stack: Stack) -> None:
    """Every session on every edge closes within a second, for good; others stay (AT-60)."""
    async with (
        Bus.connect(CommonSettings(nats_url=stack.nats.url), "test") as bus,
        Peer.opened(stack.url, "revoked eve") as here,
        Peer.opened(stack.address(1), "revoked eve") as there,
        Peer.opened(stack.url, "revoked-not") as other,
    ):
        await bus.publish(subject("revoked eve", "revoked"), b"")
        async with asyncio.timeout(REVOKED_WITHIN_S):
            assert [await here.closed(), await there.closed()] == [4502, 4502]
        assert (await here.take("bye"))["resumable"] is False
        assert await other.quiet() == []


async def test_a_word_that_nobody_understands_is_ignored(stack: Stack) -> None:
    """A bad message for a user does no harm to their session."""
    async with (
        Bus.connect(CommonSettings(nats_url=stack.nats.url), "test") as bus,
        Peer.opened(stack.url, "puzzled") as peer,
    ):
        for what in ("membership", "read", "unheard_of"):
            for body in (b"", b"{", b"[]", b'{"channel": 7}', b"\xff"):
                await bus.publish(subject("puzzled", what), body)
        await peer.do("create_channel", channel="puzzled-c", kind="public", name="c")
