"""The outbox: commands on their way, without I/O. First in, first out, per channel; repeated until acked.

A command keeps its id through every retry, so a repetition can never record twice (P12). Each channel is a
lane. Up to `window` commands of a lane are unanswered at a time (pipelining); the server takes one
connection's commands to a channel in the order in which they come (P13).

After a lost connection everything unanswered is sent again, in the old order. After an error that says
"later" (`rate_limited`, `unavailable`, `unknown`) the lane sends nothing until the rest of its window is
answered and the server's `retry_after` has passed; then it begins again with the oldest that is
unanswered. It waits up to twice that time, by chance: those who were refused together must not come back
together. With a window of one no later command can overtake a postponed one; with a larger window one
can, if the server records it before it hears of the retry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.client.errors import OutboxFull

WINDOW = 64
IN_FLIGHT_MAX = 256
ENTRIES_MAX = 10_000
RETRY_AFTER_S = 1.0
"""Wait when the server says "later" without a time."""


class Entry(NamedTuple):
    """A command: its id, its lane, the frame, and its place in the order of arrival."""

    id: str
    lane: str
    body: bytes
    order: int


@dataclass(slots=True)
class _Lane:
    waiting: deque[Entry]
    flying: dict[str, Entry] = field(default_factory=dict)
    postponed: list[Entry] = field(default_factory=list)
    held_until_s: float = 0.0


def _nothing(_: float) -> float:
    return 0.0


class Outbox:
    """Commands that are not answered yet. Times are the caller's monotonic seconds.

    `draw(x)` gives a random number between 0 and x.
    """

    def __init__(
        self,
        *,
        window: int = WINDOW,
        in_flight_max: int = IN_FLIGHT_MAX,
        entries_max: int = ENTRIES_MAX,
        draw: Callable[[float], float] = _nothing,
    ) -> None:
        self.window = window
        self.in_flight_max = in_flight_max
        self.entries_max = entries_max
        self._draw = draw
        self._lanes: dict[str, _Lane] = {}
        self._active: dict[str, None] = {}
        self._lane_of: dict[str, str] = {}
        self._arrivals = 0
        self._flying = 0

    def __len__(self) -> int:
        return len(self._lane_of)

    @property
    def full(self) -> bool:
        """Whether `add` would refuse."""
        return len(self._lane_of) >= self.entries_max

    @property
    def ready(self) -> bool:
        """Whether a command waits that may be sent before the next answer."""
        return bool(self._active)

    def add(self, lane: str, command: str, body: bytes) -> None:
        """Take a command; raises `OutboxFull`. An id that is unanswered already is not taken twice."""
        if command in self._lane_of:
            return
        if self.full:
            raise OutboxFull(f"{self.entries_max} commands wait already", limit="outbox_entries_max")
        self._arrivals += 1
        self._lane_of[command] = lane
        into = self._lanes.get(lane)
        if into is None:
            into = self._lanes[lane] = _Lane(deque(maxlen=self.entries_max))
        into.waiting.append(Entry(command, lane, body, self._arrivals))
        self._active[lane] = None

    def take(self, now_s: float) -> list[Entry]:
        """What may be sent now; it counts as in flight from here on."""
        taken: list[Entry] = []
        for name in list(self._active):
            if self._flying >= self.in_flight_max:
                break
            self._take_lane(name, now_s, taken)
        return taken

    def next_at_s(self) -> float | None:
        """When a lane that waits for its `retry_after` may go on, None if none does."""
        waits = [lane.held_until_s for name in self._active if not (lane := self._lanes[name]).flying]
        return min((at_s for at_s in waits if at_s > 0), default=None)

    def answered(self, command: str) -> bool:
        """The command is recorded or refused for good. False: it was not ours, or answered before."""
        name = self._lane_of.pop(command, None)
        if name is None:
            return False
        lane = self._lanes[name]
        if lane.flying.pop(command, None) is not None:
            self._flying -= 1
        else:  # the answer to a try before the last disconnect
            lane.waiting = deque((e for e in lane.waiting if e.id != command), maxlen=self.entries_max)
            lane.postponed = [e for e in lane.postponed if e.id != command]
        self._settle(name, lane)
        return True

    def postpone(self, command: str, now_s: float, retry_after_s: float | None) -> bool:
        """The server said "later". False: the command was not in flight."""
        name = self._lane_of.get(command)
        entry = self._lanes[name].flying.pop(command, None) if name is not None else None
        if name is None or entry is None:
            return False
        self._flying -= 1
        lane = self._lanes[name]
        lane.postponed.append(entry)
        wait_s = RETRY_AFTER_S if retry_after_s is None else retry_after_s
        lane.held_until_s = max(lane.held_until_s, now_s + wait_s + self._draw(wait_s))
        self._settle(name, lane)
        return True

    def disconnected(self) -> None:
        """The connection is lost: what is unanswered is sent again, in the old order."""
        for name, lane in self._lanes.items():
            self._flying -= len(lane.flying)
            lane.postponed += lane.flying.values()
            lane.flying.clear()
            self._settle(name, lane)

    def _take_lane(self, name: str, now_s: float, taken: list[Entry]) -> None:
        lane = self._lanes[name]
        if lane.held_until_s > 0:
            if lane.flying or now_s < lane.held_until_s:
                return
            lane.held_until_s = 0.0
        free = min(self.window - len(lane.flying), self.in_flight_max - self._flying, len(lane.waiting))
        for _ in range(free):
            entry = lane.waiting.popleft()
            lane.flying[entry.id] = entry
            taken.append(entry)
        self._flying += free
        del self._active[name]
        if lane.waiting and len(lane.flying) < self.window:
            self._active[name] = None  # behind the others

    def _settle(self, name: str, lane: _Lane) -> None:
        """After an answer: what was postponed goes back to the front once nothing flies any more."""
        if lane.postponed and not lane.flying:
            lane.postponed.sort(key=lambda entry: entry.order)
            lane.waiting.extendleft(reversed(lane.postponed))
            lane.postponed = []
        if lane.waiting:
            self._active[name] = None
        elif not lane.flying and not lane.postponed:
            del self._lanes[name]
            self._active.pop(name, None)
