"""The table of close codes says what the protocol promises (P10)."""

from __future__ import annotations

from edge.core import wire_errors
from edge.core.wire_errors import CLOSE_CODES, CloseCode


def test_table_is_complete() -> None:
    """Every close code of the module is a row."""
    declared = {value for value in vars(wire_errors).values() if isinstance(value, CloseCode)}
    assert declared == set(CLOSE_CODES)


def test_codes_and_names_are_unique() -> None:
    """Nobody has to guess which row is meant."""
    for values in ([row.code for row in CLOSE_CODES], [row.name for row in CLOSE_CODES]):
        assert len(set(values)) == len(values)


def test_range_says_whether_to_come_back() -> None:
    """4000 to 4499: reconnect and resume. 4500 to 4999 and the standard's codes: not without a change."""
    for row in CLOSE_CODES:
        assert row.resumable == (4000 <= row.code < 4500), row
        assert 4000 <= row.code < 5000 or row.code in {1007, 1009}, row


def test_names_fit_into_a_close_frame() -> None:
    """The reason is short ASCII (a close frame carries 123 bytes), the meaning a sentence."""
    for row in CLOSE_CODES:
        assert len(row.name.encode("ascii")) <= 123
        assert row.meaning.endswith(".")
