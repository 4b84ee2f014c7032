"""The answers to a cursor: everything, a hole with its bounds, or a new start (P7)."""

from __future__ import annotations

import json

import pytest

from edge.core import answers, codec
from edge.core.server_frames import Resumed
from edge.core.subscriptions import Replay
from shared.ids import ChannelId, Epoch, Seq

C = ChannelId("c")


def test_complete() -> None:
    """What was sent is named from the cursor to where it ends, with the number of events."""
    frame = json.loads(answers.complete(C, Replay(Seq(4), 6), Seq(10)))
    assert frame == json.loads(codec.encode(Resumed.model_validate(frame)))
    assert frame == {"type": "resumed", "channel": "c", "from": 4, "to": 10, "complete": True, "count": 6}


def test_nothing_missed() -> None:
    """Who is at the head is answered as after a replay of nothing."""
    for head in (Seq(0), Seq(7)):
        assert answers.nothing_missed(C, head) == codec.text_frame(answers.complete(C, Replay(head), head))


@pytest.mark.parametrize("reason", ["too_far", "retention", "forbidden", "unavailable"])
def test_hole(reason: answers.GapReason) -> None:
    """The hole begins behind the last event that was sent, like all bounds that are called `from`."""
    frame = answers.hole(C, Replay(Seq(4), 2), Seq(6), Seq(10), reason)
    assert json.loads(codec.encode(frame)) == {
        "type": "resumed",
        "channel": "c",
        "from": 4,
        "to": 6,
        "complete": False,
        "count": 2,
        "gap": {"from": 6, "to": 10, "reason": reason},
    }


def test_hole_without_an_end() -> None:
    """Who may not know the head is not told how far the hole goes (P21)."""
    frame = json.loads(codec.encode(answers.hole(C, Replay(Seq(4)), Seq(4), None, "forbidden")))
    assert frame["gap"] == {"from": 4, "reason": "forbidden"}


@pytest.mark.parametrize("reason", ["foreign_epoch", "ahead_of_head", "log_regressed"])
def test_reset(reason: answers.ResetReason) -> None:
    """A reset names the epoch and the head from which the client starts anew."""
    frame = json.loads(codec.encode(answers.reset(C, reason, Epoch("e"), Seq(7))))
    assert frame == {"type": "reset", "channel": "c", "reason": reason, "epoch": "e", "head": 7}
