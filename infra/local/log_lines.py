"""Log lines of children in a short form for the console; the files keep them whole."""

from __future__ import annotations

import json
import re

_NATS_LINE = re.compile(r"\[\d+\] \S+ \S+ \[(?P<level>[A-Z]{3})\] (?P<text>.*)")
_NATS_LEVELS = {"WRN": "warning", "ERR": "error", "FTL": "error"}
_LOUD = frozenset({"warning", "error", "critical"})
_DROPPED = frozenset({"at", "service", "pid", "level", "event", "trace"})
_EXPECTED = (
    "Plaintext passwords detected",  # they are random, and the file has mode 0600
    "Healthcheck failed",  # we asked
    "Error trying to connect to route",  # three servers do not start in the same instant
    "Waiting for routing to be established",
    "JetStream has not established contact with a meta leader",
)
_LINE_CHARS_MAX = 300


def shorten(line: str, *, verbose: bool) -> str | None:
    """`level event field=value …`; None for what the console does not show unless `verbose`."""
    if nats := _NATS_LINE.match(line):
        if nats["text"].startswith(_EXPECTED) and not verbose:
            return None
        level = _NATS_LEVELS.get(nats["level"], "info")
        return _shown(level, nats["text"], verbose=verbose)
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):  # a traceback, or a complaint before logging was set up
        return _shown("error", line, verbose=verbose) if line.strip() else None
    rest = " ".join(f"{key}={value}" for key, value in fields.items() if key not in _DROPPED)
    return _shown(str(fields.get("level", "info")), f"{fields.get('event', '')} {rest}", verbose=verbose)


def _shown(level: str, text: str, *, verbose: bool) -> str | None:
    if level not in _LOUD and not verbose:
        return None
    return f"{level:7} {' '.join(text.split())}"[:_LINE_CHARS_MAX]
