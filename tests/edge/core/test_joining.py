"""The join that counts is the newest one: what was said before it is not for who came back (P21)."""

from __future__ import annotations

from typing import get_args

import pytest

from edge.core.joining import JOINING, joined_by, last_join
from edge.core.ring import Entry
from shared import events as e
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId
from tests.support.events import example

KEY = ChannelKey(WorkspaceId("w"), ChannelId("c"))
KINDS = get_args(e.KnownEvent)


def entries(*events: e.KnownEvent, void: int = 0) -> list[Entry]:
    """These events from number 1 on; the one at `void` had no effect."""
    return [
        Entry(e.Recorded(KEY, Seq(n), StreamSeq(n), 0, event, "no" if n == void else None), b"{}", 0)
        for n, event in enumerate(events, 1)
    ]


def test_the_newest_join_counts() -> None:
    """Whoever leaves and comes back is a member from there on."""
    created = example(e.ChannelCreated, "ann", members=("bob",))
    left, said = example(e.MemberLeft, "bob"), example(e.MessagePosted, "ann")
    back = example(e.MemberJoined, "bob")
    log = entries(created, left, said, back, said)
    assert last_join(log, UserId("bob")) == 4
    assert last_join(log[:3], UserId("bob")) == 1
    assert last_join(log, UserId("ann")) == 1
    assert last_join(log, UserId("eve")) is None
    assert last_join(entries(created, left, said, back, said, void=4), UserId("bob")) == 1


def test_an_invitation_is_a_join_of_the_invited() -> None:
    """Not of the one who invites."""
    log = entries(example(e.MemberInvited, "ann", user="bob"))
    assert (last_join(log, UserId("bob")), last_join(log, UserId("ann"))) == (1, None)


@pytest.mark.parametrize("kind", KINDS)
def test_only_joining_kinds_make_members(kind: type[e.KnownEvent]) -> None:
    """The kinds that are looked at are those that name somebody."""
    event = example(kind)
    assert (event.kind in JOINING) == bool(joined_by(event))
