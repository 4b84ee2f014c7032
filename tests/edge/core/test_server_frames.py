"""What clients are told of the frames: the schema of an event holds for every kind."""

from __future__ import annotations

import pytest

from edge.core.server_frames import EventFrame
from shared import events as e
from shared.erasure import emptied
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from shared.wire_form import wire
from tests.support.events import KINDS, example

KEY = ChannelKey(WorkspaceId("w"), ChannelId("general"))
OPTIONAL: dict[str, object] = {
    "thread": 1,
    "days": 30,
    "operator": True,
    "members": ("bob",),
    "imported": {"by": "importer", "at": "2016-01-15T05:55:52Z"},
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("void", [None, "not allowed"])
def test_every_event_is_an_event_frame(kind: type[e.KnownEvent], void: str | None) -> None:
    """With all its fields, and as erasing leaves it: no field that the schema does not name."""
    fields = {name: value for name, value in OPTIONAL.items() if name in kind.__struct_fields__}
    recorded = e.Recorded(KEY, Seq(7), StreamSeq(99), 1_764_043_200_123_456, example(kind, **fields), void)
    for one in (recorded, emptied(recorded)[0]):
        frame = EventFrame.model_validate_json(wire(one))
        assert frame.kind == (one.event.kind if void is None else "void")
