"""Typing: announced seldom, over by itself, quiet in large channels, bounded (P16, AT-30, AT-33)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.core.typing import ENDING, EXPIRY_S, REPEAT_S, Typists
from shared.channel import ChannelState
from shared.events import Role
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId
from tests.support.events import KINDS

C = ChannelKey(WorkspaceId("w"), ChannelId("c"))
D = ChannelKey(WorkspaceId("w"), ChannelId("d"))
ANN, BOB = UserId("ann"), UserId("bob")


def test_announced_once_per_interval() -> None:
    """However often the client says it, others hear of it once per interval, user and channel."""
    typists = Typists(members_max=10)
    assert typists.announce(C, ANN, 0.0)
    assert not typists.announce(C, ANN, REPEAT_S - 0.01)
    assert typists.announce(C, BOB, 0.0)
    assert typists.announce(D, ANN, 0.0)
    assert typists.announce(C, ANN, REPEAT_S)


def test_announcement_is_repeated_before_it_expires() -> None:
    """Who goes on typing is shown without a break, and for six seconds at most after the last word (P16)."""
    assert REPEAT_S < EXPIRY_S <= 6.0


def test_end_makes_typing_news_again() -> None:
    """After a message of the user the next typing is announced at once."""
    typists = Typists(members_max=10)
    typists.announce(C, ANN, 0.0)
    typists.ended(C, ANN)
    typists.ended(C, BOB)
    assert typists.announce(C, ANN, 0.1)


def test_ending_kinds_are_kinds() -> None:
    """Messages, leaving and removal end typing; each is a kind that exists."""
    assert {kind.kind for kind in KINDS} >= ENDING
    assert "message.posted" in ENDING


def test_suppressed_above_the_size() -> None:
    """A channel of exactly the size still shows typing, a larger one does not."""
    typists = Typists(members_max=2)
    members: dict[UserId, Role] = {ANN: "member", BOB: "member"}
    state = ChannelState("public", "c", ANN, members=members)
    larger = ChannelState("public", "c", ANN, members={**members, UserId("eve"): "member"})
    assert not typists.suppressed(state)
    assert typists.suppressed(larger)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 2)), max_size=100))
def test_memory_is_bounded(calls: list[tuple[int, float]]) -> None:
    """Never more typists than the bound, never two announcements within the interval."""
    typists = Typists(members_max=10, typists_max=5)
    announced: dict[int, float] = {}
    now_s = 0.0
    for who, gap_s in calls:
        now_s += gap_s
        if typists.announce(C, UserId(str(who)), now_s):
            assert now_s - announced.get(who, -REPEAT_S) >= REPEAT_S
            announced[who] = now_s
        assert len(typists) <= 5


def test_full_board_makes_room_by_expiry() -> None:
    """When it is full, new typists are dropped until old announcements have expired."""
    typists = Typists(members_max=10, typists_max=1)
    assert typists.announce(C, ANN, 0.0)
    assert not typists.announce(C, BOB, EXPIRY_S - 0.01)
    assert typists.announce(C, BOB, EXPIRY_S)
