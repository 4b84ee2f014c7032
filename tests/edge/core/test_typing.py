"""Typing: announced seldom, over by itself, quiet in large channels, bounded (P16, AT-30, AT-33)."""

from __future__ import annotations

from edge.core.typing import EXPIRY_S, REPEAT_S, Typists
from shared.channel import ChannelState
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId

KEY = ChannelKey(WorkspaceId("w"), ChannelId("c"))
OTHER = ChannelKey(WorkspaceId("w"), ChannelId("other"))
ANN, BOB = UserId("ann"), UserId("bob")


def channel(members: int) -> ChannelState:
    """A channel of that size."""
    return ChannelState("public", "c", ANN, members={UserId(f"u{n}"): "member" for n in range(members)})


def test_an_announcement_is_repeated_seldom() -> None:
    """However often a client says it, one announcement per interval, user and channel."""
    typists = Typists(members_max=10)
    assert typists.announce(KEY, ANN, 0.0)
    assert not typists.announce(KEY, ANN, REPEAT_S - 0.01)
    assert typists.announce(KEY, BOB, 0.0)
    assert typists.announce(OTHER, ANN, 0.0)
    assert typists.announce(KEY, ANN, REPEAT_S)


def test_it_is_repeated_before_it_expires() -> None:
    """Somebody who goes on typing is shown without a break."""
    assert REPEAT_S < EXPIRY_S <= 6


def test_after_a_message_typing_is_news() -> None:
    """What ended it makes the next announcement go out at once."""
    typists = Typists(members_max=10)
    typists.announce(KEY, ANN, 0.0)
    typists.ended(KEY, ANN)
    typists.ended(KEY, BOB)
    assert typists.announce(KEY, ANN, 0.1)


def test_large_channels_are_quiet() -> None:
    """Above the bound, not at it."""
    typists = Typists(members_max=3)
    assert not typists.suppressed(channel(3))
    assert typists.suppressed(channel(4))


def test_memory_is_bounded() -> None:
    """At the bound new typists are dropped until old announcements have expired."""
    typists = Typists(members_max=10, typists_max=2)
    assert typists.announce(KEY, ANN, 0.0)
    assert typists.announce(KEY, BOB, 1.0)
    assert not typists.announce(OTHER, ANN, 2.0)
    assert len(typists) == 2
    assert typists.announce(OTHER, ANN, EXPIRY_S)
    assert len(typists) == 2
