"""Time as text: one form out, RFC 3339 with any precision in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import now_us, parse_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-11-25T04:00:00Z", 1_764_043_200_000_000),
        ("2025-11-25T04:00:00.1Z", 1_764_043_200_100_000),
        ("2025-11-25T04:00:00.123456Z", 1_764_043_200_123_456),
        ("2025-11-25T04:00:00.123456789Z", 1_764_043_200_123_456),
        ("2025-11-25T04:00:00.000000999Z", 1_764_043_200_000_000),
        ("2025-11-25T05:00:00+01:00", 1_764_043_200_000_000),
        ("2025-11-24T23:30:00.5-04:30", 1_764_043_200_500_000),
        ("1969-12-31T23:59:59.750Z", -250_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
    ],
)
def test_a_time_is_read_to_the_microsecond(text: str, at_us: int) -> None:
    """Nanoseconds, as NATS writes them, are cut off; offsets and times before 1970 count."""
    assert parse_rfc3339(text) == at_us


@pytest.mark.parametrize(
    "text",
    ["", "now", "2025-11-25", "2025-11-25T04:00:00", "2025-13-25T04:00:00Z", "2025-11-25T04:00:00.Z",
     "2025-11-25T04:00:00Zjunk", "2025-11-25T04:00:00+25:00", "1764043200"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    """Without a zone a time says nothing."""
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


@given(st.integers(0, 253_402_300_799_999_999))
def test_clients_see_milliseconds(at_us: int) -> None:
    """The form is fixed in width, and reading it back loses only what it does not show (P2)."""
    text = rfc3339(at_us)
    assert len(text) == 24
    assert parse_rfc3339(text) == at_us // 1000 * 1000


@given(st.integers(0, 2**48), st.integers(0, 2**48))
def test_text_sorts_as_time_does(one: int, other: int) -> None:
    """A later time never sorts before an earlier one."""
    assert (rfc3339(one) <= rfc3339(other)) or one > other


def test_the_clock_counts_microseconds() -> None:
    """`now_us` is this century, in microseconds."""
    assert rfc3339(now_us()).startswith("20")
