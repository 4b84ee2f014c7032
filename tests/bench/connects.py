"""`connects`: what it costs an edge that five thousand clients come at once, by how far they go.

They only connect; they ask for the upgrade; they say hello and are in no channel; they say hello with the
cursors of their eight channels, and have missed nothing, or a few events in each. The channels are active on
the edge throughout, because somebody is there who is in all of them, and everybody has been there before.
Nobody is turned away: how many a second may come is a policy, and not what is measured.

CPU is that of the edge until the last client is as far as it goes. Beside it stands what it is until the
edge rests, because work that is only put off is no gain. The check of a token is measured alone, in the
benchmark's own process, and taken off where the target leaves it out. What connections hold is measured on
edges of their own, see `connects_held`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.auth import Authenticator
from tests.bench.connects_held import held
from tests.bench.layout import OWNER, Layout
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import median
from tests.bench.pace import paced
from tests.bench.report import Figure
from tests.bench.system import System, running
from tests.bench.visits import RESUMED, STAGES, Crowds, Stage, Visit, case_of, crowds_of, visit

NAME = "connects"
LAYOUT = Layout()
WRITES_PER_S = 400
WRITTEN_WITHIN_S = 60.0
TEXT = "x" * 180
CPU_US_MAX = 150.0
WALL_S_MAX = 1.5
PATIENT = {"PARLEY_HELLO_DEADLINE_S": "300"}
"""Who has only connected is not sent away while it is measured, however slow the machine is."""


@dataclass(frozen=True, slots=True)
class Round:
    """One repetition: every stage by its name, and what the check of one token took."""

    visits: dict[str, Visit]
    check_us: float


async def measure(repetitions: int) -> list[Figure]:
    """Two systems, one behind the other: one edge for the stages in turn, then an edge for each stage."""
    return [*figures_of(await rounds(repetitions, LAYOUT), LAYOUT), *await held(LAYOUT, NAME, PATIENT)]


async def rounds(repetitions: int, layout: Layout) -> list[Round]:
    """Every stage once in each round, after one that does not count."""
    async with running(env=PATIENT) as system, crowds_of(system, layout) as crowds:
        owner = await open_session(system.edges[0], system.token(OWNER))
        await layout.create(owner)
        await visit(system, crowds.members, "hello")
        found = [await _round(system, crowds, owner, layout) for _ in range(repetitions + 1)]
        owner.close()
    return found[1:]


async def _round(system: System, crowds: Crowds, owner: LoadClient, layout: Layout) -> Round:
    visits: dict[str, Visit] = {}
    for stage in STAGES:
        await _write(owner, layout, stage.missed * layout.channels)
        crowd = crowds.members if stage.known else crowds.strangers
        seen = visits[stage.name] = await visit(system, crowd, stage.goal)
        expected = stage.missed * layout.channels_of_client * layout.clients
        assert seen.replayed == expected, f"{stage.name}: {seen.replayed} events of {expected}"
    tokens = [system.token(layout.user(number)) for number in range(layout.clients)]
    return Round(visits, check_us(system.directory.credentials().jwt, tokens))


async def _write(owner: LoadClient, layout: Layout, count: int) -> None:
    """So many messages, in the channels in turn, all acknowledged."""
    owner.reset()
    await paced(WRITES_PER_S, count, lambda number, _: owner.send_message(layout.channel(number), TEXT))
    await owner.until(lambda: owner.acks + owner.errors >= count, within_s=WRITTEN_WITHIN_S)
    assert not owner.errors, owner.last_error


def check_us(secret: str, tokens: Sequence[str]) -> float:
    """Microseconds of CPU to verify one HS256 token as an edge does, each for the first time."""
    authenticator = Authenticator(secret=secret)
    began_ns = time.thread_time_ns()
    for token in tokens:
        authenticator.verify(token)
    return (time.thread_time_ns() - began_ns) / 1000 / len(tokens)


# ---------------------------------------------------------------- figures


def figures_of(found: Sequence[Round], layout: Layout) -> list[Figure]:
    """Medians of the rounds; what is less a token's check is so in each of them."""

    def figure(
        case: str, name: str, unit: str, pick: Callable[[Round], float], target: float | None = None
    ) -> Figure:
        return Figure(NAME, case, name, unit, median(map(pick, found)), len(found), target=target)

    def of(stage: Stage, pick: Callable[[Visit], float]) -> Callable[[Round], float]:
        return lambda one: pick(one.visits[stage.name])

    figures = []
    for stage in STAGES:
        case = case_of(stage, layout)
        figures += [
            figure(case, "CPU of the edge per client", "us", of(stage, lambda v: v.cpu_us["edge"])),
            figure(case, "until all are there", "s", of(stage, lambda v: v.wall_s)),
            figure(
                case,
                "CPU of the edge per client, until it rests",
                "us",
                of(stage, lambda v: v.rested_us),
            ),
            figure(case, "CPU of nats per client", "us", of(stage, lambda v: v.cpu_us["nats"])),
            figure(case, "CPU of a client", "us", of(stage, lambda v: v.cpu_us["client"])),
        ]
    case = case_of(RESUMED, layout)
    edge_us, wall_s = of(RESUMED, lambda v: v.cpu_us["edge"]), of(RESUMED, lambda v: v.wall_s)
    refused = max(visit.refused for one in found for visit in one.visits.values())
    return [
        *figures,
        figure(case, "CPU of one token's check, alone (HS256)", "us", lambda one: one.check_us),
        figure(
            case,
            "CPU per resumed client without the token's check",
            "us",
            lambda one: edge_us(one) - one.check_us,
            CPU_US_MAX,
        ),
        figure(
            case,
            "until all are resumed, less the tokens' checks",
            "s",
            lambda one: wall_s(one) - layout.clients * one.check_us / 1e6,
            WALL_S_MAX,
        ),
        Figure(NAME, "all stages", "upgrades answered 503, at most", "", refused, len(found), target=0),
    ]
