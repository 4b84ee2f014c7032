"""The client's types name no field that the edge's models do not have."""

from __future__ import annotations

import pytest

from edge.core import server_frames as s
from shared.client import wire

PAIRS = {
    wire.WelcomeFrame: s.Welcome,
    wire.ChannelsFrame: s.Channels,
    wire.ChannelFrame: s.ChannelChanged,
    wire.ChannelInfo: s.ChannelInfo,
    wire.Limits: s.Limits,
    wire.EventFrame: s.EventFrame,
    wire.ImportedMark: s.ImportedMark,
    wire.AckFrame: s.Ack,
    wire.ErrorFrame: s.Error,
    wire.GapFrame: s.Gap,
    wire.ResumedFrame: s.Resumed,
    wire.ResetFrame: s.Reset,
    wire.PingFrame: s.Ping,
    wire.RefreshedFrame: s.Refreshed,
    wire.TypingFrame: s.Typing,
    wire.ReadFrame: s.Read,
    wire.ByeFrame: s.Bye,
}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.items(), ids=lambda kind: kind.__name__)
def test_fields_are_the_edges(ours: type, theirs: type) -> None:
    """A field that the edge renames or drops is noticed here, not by a KeyError in a client."""
    fields = theirs.model_fields  # type: ignore[attr-defined]
    known = {info.alias or name for name, info in fields.items()}
    assert set(ours.__annotations__) <= known
