"""Which process is hurt when and how: a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

Kind = Literal["kill", "terminate", "freeze", "step down"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FREEZE_S = (0.2, 6.0)
PAUSE_S = (0.5, 4.0)
"""Between the end of one fault and the next: some hit what is still coming back."""


class Fault(NamedTuple):
    """At `at_s` after the start: SIGKILL, SIGTERM, SIGSTOP with SIGCONT `for_s` later, or a new leader."""

    at_s: float
    kind: Kind
    victim: str
    for_s: float

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:6.1f} s  {self.kind} {self.victim}{lasting}"


def schedule(seed: int, seconds: float, victims: Sequence[str], streams: Sequence[str] = ()) -> list[Fault]:
    """Faults one after another until `seconds` have passed; `streams`: whose leaders can step down."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    at_s = rng.uniform(*PAUSE_S)
    while at_s < seconds:
        kind = rng.choice(KINDS if streams else KINDS[:-1])
        for_s = rng.uniform(*FREEZE_S) if kind == "freeze" else 0.0
        faults.append(Fault(at_s, kind, rng.choice(streams if kind == "step down" else victims), for_s))
        at_s += for_s + rng.uniform(*PAUSE_S)
    return faults
