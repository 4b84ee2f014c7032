"""A day, a month or a year as people write it, as a range of time in the time zone where they are."""

from __future__ import annotations

import re

from shared.clock import midnight_us
from shared.errors import BadQuery, BadRequest

YEARS = range(1970, 9999)
_PERIOD = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?", re.ASCII)


def period(text: str, zone: str) -> tuple[int, int]:
    """From when, inclusive, until when, exclusive, in microseconds; a day has 23 to 25 hours.

    Raises `BadQuery` for what is no period, `BadRequest` for what is no time zone.
    """
    match = _PERIOD.fullmatch(text)
    if match is None or int(match[1]) not in YEARS:
        raise BadQuery(f"a day, month or year is written 2026-11-25, 2026-11 or 2026, not {text}")
    year, month, day = int(match[1]), int(match[2] or 1), int(match[3] or 1)
    try:
        midnight_us(2000, 1, 1, zone)
    except ValueError as error:
        raise BadRequest(f"tz: {error}; a zone has a name like Europe/Berlin") from error
    try:
        first_us = midnight_us(year, month, day, zone)
    except ValueError:
        raise BadQuery(f"there is no day {text}") from None
    return first_us, midnight_us(*_next(year, month, day, match), zone)


def _next(year: int, month: int, day: int, match: re.Match[str]) -> tuple[int, int, int]:
    """The first day behind the period."""
    if match[2] is None:
        return year + 1, 1, 1
    if match[3] is not None and day < days_of(year, month):
        return year, month, day + 1
    return (year + 1, 1, 1) if month == 12 else (year, month + 1, 1)


def days_of(year: int, month: int) -> int:
    """How many days a month has."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28
    return 30 if month in {4, 6, 9, 11} else 31
