"""How long clients were left without a word: reported, never judged.

A silence belongs to the fault during which, or soon after which, it began. Over means: every client that was
silent has been served again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

HEARD_S = 0.25
"""Shorter gaps are not kept: so long a client may have had nothing to say."""
AFTERMATH_S = 5.0


class Silence(NamedTuple):
    """Nothing between two moments."""

    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        """How long."""
        return self.to_s - self.from_s


_NONE = Silence(0.0, 0.0)


class Injury(NamedTuple):
    """What was done, to which kind of victim, and between which moments."""

    kind: str
    victim: str
    from_s: float
    to_s: float


class Felt(NamedTuple):
    """What clients felt of one injury."""

    injury: Injury
    longest_s: float
    """The longest silence of any client."""
    recovered_s: float
    """From the end of the injury until the last silence was over."""
    who: str = ""
    """Whose silence the longest was."""
    alone: bool = True
    """Whether the last silence of every injury before it was over."""


class Silences:
    """The gaps of every client; `heard` whenever one is answered or told something."""

    def __init__(self) -> None:
        self.gaps: dict[str, list[Silence]] = defaultdict(list)
        self._last_s: dict[str, float] = {}

    def heard(self, client: str, now_s: float) -> None:
        """This client was served just now."""
        last_s = self._last_s.get(client)
        if last_s is not None and now_s - last_s > HEARD_S:
            self.gaps[client].append(Silence(last_s, now_s))
        self._last_s[client] = now_s

    def felt(self, injuries: Sequence[Injury]) -> Iterator[Felt]:
        """Each injury (they are in order) with what was felt of it."""
        gaps = [(gap, who) for who, found in self.gaps.items() for gap in found]
        calm_from_s = float("-inf")
        for number, injury in enumerate(injuries):
            until_s = injury.to_s + AFTERMATH_S
            if number + 1 < len(injuries):
                until_s = min(until_s, injuries[number + 1].from_s)
            since_s = injury.from_s - HEARD_S
            mine = [
                (gap, who)
                for gap, who in gaps
                if gap.to_s > injury.from_s and since_s <= gap.from_s < until_s
            ]
            longest, who = max(mine, key=lambda pair: pair[0].length_s, default=(_NONE, ""))
            over_s = max((gap.to_s for gap, _ in mine), default=injury.to_s)
            alone = calm_from_s <= injury.from_s
            yield Felt(injury, longest.length_s, max(0.0, over_s - injury.to_s), who, alone)
            calm_from_s = max(calm_from_s, over_s)
