"""Time as values: cores receive it, shells read it here. Microseconds UTC inside, RFC 3339 outside."""

from __future__ import annotations

import datetime as dt
import functools
import re
import time
import zoneinfo

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_SECONDS_KEPT = 256


def now_us() -> int:
    """The wall clock in microseconds."""
    return time.time_ns() // 1000


def rfc3339(at_us: int) -> str:
    """`2026-11-25T04:00:00.123Z`: the only form of a time that clients see (P2)."""
    at_s, us = divmod(at_us, 1_000_000)
    return f"{_second(at_s)}.{us // 1000:03d}Z"


def parse_rfc3339(text: str) -> int:
    """Microseconds since 1970; nanoseconds, as NATS writes them, are cut off. Raises ValueError."""
    whole, zone, fraction = text[:19], text[-1:], text[20:-1]
    if not (zone == "Z" and text[19:20] == "." and fraction.isdecimal() and fraction.isascii()):
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError(f"not an RFC 3339 time: {text!r}")
        whole, fraction, zone = match.groups(default="")
    return _seconds(whole + zone) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


# Neighbours in a log share their second, and a calendar costs more than the rest of an event's encoding.


@functools.lru_cache(maxsize=_SECONDS_KEPT)
def _second(at_s: int) -> str:
    return (_EPOCH + dt.timedelta(seconds=at_s)).replace(tzinfo=None).isoformat()


@functools.lru_cache(maxsize=_SECONDS_KEPT)
def _seconds(text: str) -> int:
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    return (dt.datetime.fromisoformat(text) - _EPOCH) // dt.timedelta(seconds=1)


def midnight_us(year: int, month: int, day: int, zone: str) -> int:
    """When a local day begins, in microseconds; if the clock jumps over midnight, when it does so.

    Raises ValueError for a day that there is not, and for a zone without an IANA name.
    """
    try:
        place = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"{zone!r} is no time zone") from error
    local = dt.datetime(year, month, day, tzinfo=place)
    return (local - _EPOCH) // dt.timedelta(microseconds=1)
