"""Which ids JetStream's duplicate window can answer for: those whose own time is near enough to ours.

Whoever retries an id as a fresh one must be sure that the window still remembers the first store. What a
client says whose clock is ahead by the whole limit is stored at once, at `t`; its id counts as fresh until
`t + 2 * limit`; a command that begins then is tried on for `tries_s`, and its last request arrives within
`stray_s`. All of that has to lie inside the window: the limit is half of what tries and strays leave of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.clock import rfc3339
from shared.errors import ClockSkew
from shared.ids import CommandId, command_time_ms


@dataclass(frozen=True, slots=True)
class Freshness:
    """The rule for a duplicate window of `window_s`."""

    window_s: float
    tries_s: float
    """How long a commit is tried on under its id."""
    stray_s: float
    """How late a request may arrive that nobody waits for any more."""

    limit_ms: int = field(init=False)
    """How far the time of a fresh id may be from ours, either way."""

    def __post_init__(self) -> None:
        limit_s = (self.window_s - self.tries_s - self.stray_s) / 2
        object.__setattr__(self, "limit_ms", int(limit_s * 1000))

    def is_late(self, command: CommandId, now_us: int) -> bool:
        """Whether only log and archive can say if this id is known."""
        return command_time_ms(command) < now_us // 1000 - self.limit_ms

    def check(self, command: CommandId, now_us: int) -> None:
        """Raises `ClockSkew` for an id that is so far ahead that the window could not answer for it."""
        if command_time_ms(command) > now_us // 1000 + self.limit_ms:
            raise ClockSkew(f"the id is from the future; server time is {rfc3339(now_us)}")
