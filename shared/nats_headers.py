"""Headers of NATS' messages.

nats-py tests every character of a header's name. The headers of a republished message are all the server's
and have one order, so one expression finds all of them; others are read line by line.
"""

from __future__ import annotations

import contextlib
import re

VERSION = "NATS/1.0"
_HEADER = re.compile(r"([!-9;-~]+)[ \t]*:[ \t]*(.*?)[ \t]*")
_REPUBLISHED_NAMES = tuple(
    f"Nats-{name}" for name in ("Msg-Id", "Stream", "Subject", "Sequence", "Time-Stamp", "Last-Sequence")
)
_REPUBLISHED = re.compile("\r\n".join([VERSION, *(f"{name}: (.*)" for name in _REPUBLISHED_NAMES), "\r\n"]))
_SERVERS_OWN = frozenset(
    f"Nats-{name}"
    for name in (
        *("Subject", "Sequence", "Time-Stamp", "Last-Sequence", "Stream", "Msg-Id", "Num-Pending"),
        *("Batch-Id", "Batch-Sequence", "Batch-Commit", "Expected-Last-Subject-Sequence", "UpTo-Sequence"),
    )
)
"""Written as `Name: value`, and on every message: not worth an expression."""
_STATUS = re.compile(r"(\d{3})(?: +(.*))?")


def read_headers(raw: bytes) -> dict[str, str]:
    """Headers by name, the status line's as `Status` and `Description`; lines without a name are skipped."""
    text = raw.decode(errors="replace")
    found = _REPUBLISHED.fullmatch(text)
    return _headers(text) if found is None else dict(zip(_REPUBLISHED_NAMES, found.groups(), strict=True))


def _headers(text: str) -> dict[str, str]:
    first, *lines = text.split("\r\n")
    if first == VERSION and lines[-2:] == ["", ""]:
        with contextlib.suppress(ValueError):  # a line without a colon
            named = dict([line.split(": ", 1) for line in lines[:-2]])
            if _SERVERS_OWN.issuperset(named):  # nearly always
                return named
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if colon and name in _SERVERS_OWN:
            headers[name] = value
        elif (found := _HEADER.fullmatch(line)) is not None:
            headers[found[1]] = found[2]
    if len(first) > len(VERSION):
        status = _STATUS.match(first, len(VERSION) + 1)
        if status is not None:
            headers["Status"] = status[1]
            if status[2]:
                headers["Description"] = status[2]
    return headers
