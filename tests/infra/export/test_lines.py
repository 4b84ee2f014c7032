"""A line is what clients see of an event, byte for byte, whatever the event is (AT-53)."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from infra.export.lines import line_of, write_lines
from infra.export.selection import Selection
from infra.export.source import opened
from shared import events as e
from shared.archive_rows import recorded_of, row_of
from shared.events import Recorded
from shared.ids import ChannelKey, Seq, StreamSeq, channel_id
from shared.wire_form import wire
from tests.support.archived import WORKSPACE, archive_of, recorded
from tests.support.events import KINDS, any_event, example

KEY = ChannelKey(WORKSPACE, channel_id("tea"))


@given(any_event(), st.sampled_from([None, "forbidden"]), st.integers(0, 2**50))
def test_a_line_is_the_wire(event: e.KnownEvent, void: str | None, at_us: int) -> None:
    """Every kind, void or not, from columns or from a whole body."""
    for body in (e.encode(event), b" " + e.encode(event), b'{"v": 9}', b"\xff"):
        row = row_of(Recorded(KEY, Seq(7), StreamSeq(9), at_us, e.decode(body), void), body)
        assert line_of(row) == wire(recorded_of(row))


def test_every_event_has_its_line(tmp_path: Path) -> None:
    """By number; a void stands where it stands, and a deletion beside what it deletes."""
    events = [example(kind, author="alice") for kind in KINDS if not kind.kind.endswith("erased")]
    rows = recorded("tea", [*events, b"no event"])
    archive = archive_of(tmp_path / "a", rows)
    told: list[int] = []
    with opened(archive, Selection(WORKSPACE), tmp_path) as source:
        assert write_lines(source, tmp_path / "x", told.append) == len(rows)
    lines = (tmp_path / "x").read_bytes().splitlines()
    assert lines == [wire(recorded_of(row)) for row in rows]
    assert told == [len(rows)]
