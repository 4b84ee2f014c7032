"""Who says what where: the deterministic rule that spreads a file of chat lines over channels.

Line `n` belongs to the channel that a Zipf distribution (exponent 1, the first channel the busiest) gives
for the number `blake2b(n) / 2^64`: so a few channels carry half of all lines, as in real workspaces, and
the same line is in the same channel in every run. A channel belongs to one sender, which sends its lines in
the file's order. Receiver `r` of `R` is a member of about `MEMBERSHIPS` channels, evenly spread.

A command's id is derived from workspace, file name, line number and content: a second run gives every
line the id that it has already.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import orjson

from shared.clock import parse_rfc3339
from shared.ids import CommandId, derived_command_id

MEMBERSHIPS = 20
"""Channels of a receiver, where there are so many."""

OWNER = "replay-owner"
"""Creates the channels, and is nobody's client: whoever imports them is no member and hears nothing."""

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


class BadLine(ValueError):
    """A line that is not `{"ts", "user", "text"}`."""


class Line(NamedTuple):
    """One line of the file."""

    number: int
    author: str
    at: str
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Spreads the lines of the file `name` over channels, senders and receivers."""

    workspace: str
    name: str
    channels: int
    senders: int
    receivers: int

    def spread(self) -> Spread:
        """The rule with its tables worked out."""
        return Spread(self, _cumulative(self.channels))

    def channel_name(self, channel: int) -> str:
        """The id of a channel."""
        return f"{_UNSAFE.sub('-', self.name)[:48]}-{channel:03d}"

    def sender_of(self, channel: int) -> int:
        """The one sender that writes to a channel."""
        return channel % self.senders

    def memberships(self, receiver: int) -> list[int]:
        """The channels that a receiver is a member of."""
        count = min(MEMBERSHIPS, self.channels)
        return sorted({(receiver * count + i) % self.channels for i in range(count)})

    def line_id(self, line: Line) -> CommandId:
        """The id of a line's message, for ever."""
        return derived_command_id(
            line.at_ms, "replay", self.workspace, self.name, str(line.number), line.author, line.at, line.text
        )

    def channel_id(self, channel: int, what: str) -> CommandId:
        """The id of a channel's creation, or of the invitation of `what`."""
        return derived_command_id(0, "replay", self.workspace, self.name, self.channel_name(channel), what)


@dataclass(frozen=True, slots=True)
class Spread:
    """`channel_of` for every line."""

    rule: Rule
    cumulative: tuple[float, ...]

    def channel_of(self, number: int) -> int:
        """The channel of a line."""
        digest = hashlib.blake2b(str(number).encode(), digest_size=8).digest()
        return bisect_right(self.cumulative, int.from_bytes(digest, "big") / 2**64 * self.cumulative[-1])


def parse(raws: Iterable[bytes]) -> Iterator[Line | BadLine]:
    """The lines of a file, numbered from 1; a bad one is returned in its place."""
    at, at_ms = "", 0
    for number, raw in enumerate(raws, 1):
        try:
            fields = orjson.loads(raw)
            author, text, ts = fields["user"], fields["text"], fields["ts"]
            if ts != at:  # neighbours share their minute
                at, at_ms = ts, parse_rfc3339(ts) // 1000
            if not (isinstance(author, str) and isinstance(text, str) and at_ms >= 0):
                raise BadLine(f"line {number}: user and text must be strings")
        except (ValueError, KeyError, TypeError) as error:
            yield BadLine(f"line {number}: {error!r}")
            continue
        yield Line(number, author, at, at_ms, text)


def _cumulative(channels: int) -> tuple[float, ...]:
    return tuple(accumulate(1 / rank for rank in range(1, channels + 1)))
