"""Which events make somebody a member, and which of them is the one that counts."""

from __future__ import annotations

from collections.abc import Sequence

from edge.core.ring import Entry
from shared import events as e
from shared.ids import Seq, UserId

JOINING = frozenset({"channel.created", "member.joined", "member.invited"})
"""Kinds of events that do."""


def joined_by(event: e.Event) -> tuple[UserId, ...]:
    """Who is a member by this event, if it is not void."""
    match event:
        case e.ChannelCreated():
            return (event.author, *event.members)
        case e.MemberInvited():
            return (event.user,)
        case e.MemberJoined():
            return (event.author,)
    return ()


def last_join(entries: Sequence[Entry], user: UserId) -> Seq | None:
    """The newest of these events by which the user is a member; None if none of them is."""
    for entry in reversed(entries):
        event = entry.recorded.event
        if event.kind in JOINING and entry.recorded.void is None and user in joined_by(event):
            return entry.seq
    return None
