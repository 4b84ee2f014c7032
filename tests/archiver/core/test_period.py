"""Days, months and years where people are: clocks jump, and a day is as long as it is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.period import days_of, period
from shared.clock import rfc3339
from shared.errors import BadQuery, BadRequest

HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "zone", "first", "hours"),
    [
        ("2026-11-25", "UTC", "2026-11-25T00:00:00", 24),
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00", 23),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00", 25),
        ("2026-7-4", "America/New_York", "2026-07-04T04:00:00", 24),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00", 23),  # midnight does not exist there
        ("2026-02", "Asia/Tokyo", "2026-01-31T15:00:00", 28 * 24),
        ("2024-02", "UTC", "2024-02-01T00:00:00", 29 * 24),
        ("2026-12", "UTC", "2026-12-01T00:00:00", 31 * 24),
        ("2026", "Europe/Berlin", "2025-12-31T23:00:00", 365 * 24),
        ("2026-12-31", "Pacific/Kiritimati", "2026-12-30T10:00:00", 24),
    ],
)
def test_periods(text: str, zone: str, first: str, hours: int) -> None:
    """From the first moment of the first day to that of the day behind it."""
    first_us, end_us = period(text, zone)
    assert rfc3339(first_us) == f"{first}.000Z"
    assert end_us - first_us == hours * HOUR_US


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-13", "2026-02-30", "2026-11-25T10:00", "26-11-25", "1969", "٢٠٢٦", "2026-00-10"],
)
def test_what_is_no_period(text: str) -> None:
    """It is said how one is written."""
    with pytest.raises(BadQuery):
        period(text, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "a" * 300, "\0"])
def test_what_is_no_zone(zone: str) -> None:
    """Another parameter is wrong then, not the query."""
    with pytest.raises(BadRequest):
        period("2026", zone)


@given(
    st.integers(1970, 9997), st.integers(1, 12), st.sampled_from(["UTC", "Europe/Lisbon", "Asia/Kathmandu"])
)
def test_days_tile_a_month(year: int, month: int, zone: str) -> None:
    """Each day begins where the one before it ends."""
    days = [period(f"{year}-{month}-{day}", zone) for day in range(1, days_of(year, month) + 1)]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(days))
    assert (days[0][0], days[-1][1]) == period(f"{year}-{month:02d}", zone)
