"""Frames of one channel for a client session, and what the session made of them."""

from __future__ import annotations

from typing import cast

from shared.client import wire
from shared.client.session import Session
from shared.client.updates import ChannelEvent, Update
from shared.ids import ChannelId, Epoch

C = ChannelId("c")
E1 = Epoch("e1")


def event(seq: int, channel: ChannelId = C) -> wire.EventFrame:
    return cast(
        wire.EventFrame,
        {"type": "event", "channel": channel, "seq": seq, "kind": "message.posted", "author": "u"},
    )


def info(head: int, channel: ChannelId = C, epoch: Epoch = E1) -> wire.ChannelInfo:
    return cast(wire.ChannelInfo, {"id": channel, "epoch": epoch, "head": head})


def resumed(after: int, upto: int, count: int, gap: wire.GapFrame | None = None) -> wire.ResumedFrame:
    return cast(
        wire.ResumedFrame,
        {"channel": C, "from": after, "to": upto, "complete": gap is None, "count": count, "gap": gap},
    )


def seqs(updates: list[Update]) -> list[int]:
    return [update.seq for update in updates if isinstance(update, ChannelEvent)]


def taken(session: Session) -> list[Update]:
    updates, session.updates = session.updates, []
    return updates


def asked(session: Session) -> dict[str, int]:
    found: dict[str, int] = {}
    for frame in session.take_frames():
        cursors = cast("dict[str, wire.CursorFrame]", frame["cursors"])
        found |= {channel: cursor["seq"] for channel, cursor in cursors.items()}
    return found
