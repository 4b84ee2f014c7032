"""The one retry policy: exponential backoff with full jitter, under a deadline that is passed down."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass


def delays(*, first_s: float, cap_s: float, rng: random.Random | None = None) -> Iterator[float]:
    """Endless waits in seconds, each uniform between 0 and a ceiling that doubles up to `cap_s`.

    Full jitter: those who failed together do not come back together.
    """
    draw = rng or random
    ceiling = first_s
    while True:
        yield draw.uniform(0, ceiling)
        ceiling = min(cap_s, ceiling * 2)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock by which work has to end."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left_s == 0.0
