"""A session's order in a channel survives a refusal that says "later" (P13).

If the first of three pipelined sends is refused for a moment (a rate, the log away) and the other two are
recorded, its retry lands behind them. So after such a refusal the channel takes nothing else from this
session until that command comes again: what was sent behind it is refused in the same way, and the client
sends all of it again in the old order. A client that gives the command up is held for a short time only.

Pure: seconds of a steady clock come in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.errors import ParleyError, Unavailable
from shared.ids import ChannelId, CommandId

HOLDS_MAX = 1000
"""Channels that wait at once; beyond them a refusal holds nothing, and only its own order is at risk."""

RETRY_MS_MIN = 100
HOLD_S = 3.0
"""How long a channel waits for a postponed command to come again, beyond its `retry_after`."""


@dataclass(frozen=True, slots=True)
class _Hold:
    command: CommandId
    until_s: float


class Order:
    """The channels of one session that wait for a postponed command."""

    __slots__ = ("_holds",)

    def __init__(self) -> None:
        self._holds: dict[ChannelId, _Hold] = {}

    def check(self, channel: ChannelId, command: CommandId, now_s: float) -> None:
        """Raises `Unavailable` if another command has to come first."""
        hold = self._holds.get(channel)
        if hold is None:
            return
        if hold.command == command or now_s >= hold.until_s:
            del self._holds[channel]
            return
        raise Unavailable(
            f"send {hold.command} again first: it was postponed, and this one was sent behind it",
            retry_after_ms=max(RETRY_MS_MIN, math.ceil((hold.until_s - HOLD_S - now_s) * 1000)),
            limit="order",
        )

    def refused(self, channel: ChannelId, command: CommandId, error: ParleyError, now_s: float) -> None:
        """The command was refused; if that was for later, the channel waits for it."""
        if not error.retryable or channel in self._holds:
            return
        if len(self._holds) >= HOLDS_MAX:
            self._holds = {name: hold for name, hold in self._holds.items() if now_s < hold.until_s}
        if len(self._holds) < HOLDS_MAX:
            wait_s = (error.retry_after_ms or 0) / 1000
            self._holds[channel] = _Hold(command, now_s + wait_s + HOLD_S)

    def __len__(self) -> int:
        return len(self._holds)
