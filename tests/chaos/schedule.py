"""Who is hurt when and how: a function of the seed.

| kind | what is done |
|---|---|
| `kill`, `terminate` | SIGKILL, SIGTERM; the supervisor starts the victim again |
| `freeze` | SIGSTOP, SIGCONT `for_s` later |
| `stutter` | stopped and continued in turn, so that it runs about a third of the time |
| `pause follower` | `freeze` of the NATS server that leads the fewest logs |
| `step down`, `step down all` | the leader of one log, or of every log at once, gives way |
| `full disk` | a file fills the file system under a store; it is taken away `for_s` later |
| `slow disk` | every write and sync of a file that the victim makes takes 20 ms longer (strace) |
| `cut`, `half-open`, `stall`, `delay`, `trickle` | what the network can do (`proxy`) |
| `clock jump` | the clocks of the clients that stamp their own ids jump by minutes |

Kinds are dealt like cards: each comes once before one comes again, so that a short run has many kinds too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "kill",
    "terminate",
    "freeze",
    "stutter",
    "pause follower",
    "step down",
    "step down all",
    "full disk",
    "slow disk",
    "cut",
    "half-open",
    "stall",
    "delay",
    "trickle",
    "clock jump",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

NETWORK: tuple[Kind, ...] = ("cut", "half-open", "stall", "delay", "trickle")
MOMENTARY: frozenset[Kind] = frozenset(
    {"kill", "terminate", "step down", "step down all", "half-open", "clock jump"}
)
"""Done at once; the others last."""

EVERYBODY = "all"
DISTURBED_SHARE = 0.3
"""How often the next fault comes before the last one can be over; mostly there is time to recover."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long faults last, and how long it is from the end of one to the next."""

    lasting_s: tuple[float, float] = (0.3, 6.0)
    disturbed_s: tuple[float, float] = (0.5, 3.0)
    calm_s: tuple[float, float] = (3.0, 8.0)


STEADY = Pace()
HURRIED = Pace(lasting_s=(0.2, 1.5), disturbed_s=(0.2, 0.8), calm_s=(0.5, 2.0))
"""For runs of seconds."""


@dataclass(frozen=True, slots=True)
class Victims:
    """Whom a fault can hit. Kinds without a victim are left out; `all` stands for what needs no name."""

    processes: Sequence[str]
    paths: Sequence[str] = ()
    """`clients>edge-1`: a path of the network; `edge-1`: all paths of that service to NATS."""
    full_disks: Sequence[str] = ()
    slow_disks: Sequence[str] = ()
    streams: Sequence[str] = ()
    """Logs whose leader can step down: more than one server holds them."""
    kinds: Sequence[Kind] = ()
    """Only these, if any are named."""

    def by_kind(self) -> Mapping[Kind, Sequence[str]]:
        """The victims of each kind that is possible here."""
        several = (EVERYBODY,) if self.streams else ()
        hit: dict[Kind, Sequence[str]] = {
            **dict.fromkeys(("kill", "terminate", "freeze", "stutter"), self.processes),
            **dict.fromkeys(NETWORK, self.paths),
            "pause follower": several,
            "step down": self.streams,
            "step down all": several,
            "full disk": self.full_disks,
            "slow disk": self.slow_disks,
            "clock jump": (EVERYBODY,),
        }
        return {kind: hit[kind] for kind in self.kinds or KINDS if hit[kind]}


class Fault(NamedTuple):
    """At `at_s` after the start something happens to `victim`, for `for_s` if it lasts.

    `dice`, between 0 and 1, settles what is left to settle: the direction of a half-open connection, say.
    """

    at_s: float
    kind: Kind
    victim: str
    for_s: float
    dice: float

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:6.1f} s  {self.kind} {self.victim}{lasting}"


def schedule(
    seed: int, seconds: float, victims: Victims, *, pace: Pace = STEADY, faults_max: int | None = None
) -> list[Fault]:
    """Faults one after another until `seconds` have passed, or there are `faults_max`."""
    rng = random.Random(seed)
    possible = victims.by_kind()
    assert possible, "none of these kinds is possible here"
    faults: list[Fault] = []
    at_s = rng.uniform(*pace.calm_s)
    for kind in _dealt(rng, list(possible)):
        if at_s >= seconds or len(faults) == faults_max:
            return faults
        for_s = 0.0 if kind in MOMENTARY else rng.uniform(*pace.lasting_s)
        faults.append(Fault(at_s, kind, rng.choice(possible[kind]), for_s, rng.random()))
        is_disturbed = rng.random() < DISTURBED_SHARE
        at_s += for_s + rng.uniform(*(pace.disturbed_s if is_disturbed else pace.calm_s))
    raise AssertionError("cards are dealt for ever")


def _dealt(rng: random.Random, kinds: list[Kind]) -> Iterator[Kind]:
    while True:
        rng.shuffle(kinds)
        yield from kinds
