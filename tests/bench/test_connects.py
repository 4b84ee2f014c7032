"""A crowd that comes at once: who is there at which stage, who is in which channel, what is reported."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from infra.local.tokens import mint
from shared.errors import Unauthorized
from tests.bench.connects import Round, check_us, figures_of, rounds
from tests.bench.connects_crowd import ConnectsCrowd, Goal
from tests.bench.connects_held import HELD, Held
from tests.bench.connects_held import figures_of as figures_of_held
from tests.bench.layout import Layout
from tests.bench.stops import environment
from tests.bench.visits import EVENTS_MISSED, STAGES, Visit

SMALL = Layout(clients=20, channels_of_client=4, members=10)
SECRET = "s" * 32
DEADLINE_S = 30.0


def _visit(edge_us: float, wall_s: float, *, refused: int = 0) -> Visit:
    return Visit(wall_s, {"edge": edge_us, "nats": 1.0, "client": 2.0}, edge_us + 5, refused, 0)


def _round(resumed_us: float, check_us: float, *, wall_s: float = 1.0, refused: int = 0) -> Round:
    visits = {stage.name: _visit(10.0, 0.1) for stage in STAGES}
    return Round(visits | {"resumed": _visit(resumed_us, wall_s, refused=refused)}, check_us)


@pytest.mark.faults
async def test_a_small_crowd_comes_as_far_as_each_stage() -> None:
    """Against a real edge: everybody arrives at every stage, and gets exactly what was missed."""
    (only,) = await rounds(1, SMALL)
    replayed = {name: visit.replayed for name, visit in only.visits.items()}
    expected = EVENTS_MISSED * SMALL.channels_of_client * SMALL.clients
    assert replayed == {"tcp": 0, "upgrade": 0, "hello": 0, "resumed": 0, "missed": expected}
    assert all(visit.cpu_us["edge"] > 0 and visit.wall_s > 0 for visit in only.visits.values())


@pytest.mark.parametrize("layout", [Layout(), SMALL])
def test_everybody_is_in_as_many_channels(layout: Layout) -> None:
    """Each in so many, each channel with so many, all different."""
    channels = [layout.members_of(number) for number in range(layout.channels)]
    assert {len(set(members)) for members in channels} == {layout.members}
    counts = Counter(user for members in channels for user in members)
    assert len(counts) == layout.clients
    assert set(counts.values()) == {layout.channels_of_client}


def test_the_check_is_taken_off_within_a_round() -> None:
    """Not the median of one less the median of the other, and the stages themselves are as measured."""
    found = [_round(200, 60), _round(190, 10), _round(400, 300, wall_s=3.0, refused=2)]
    figures = {(one.case, one.figure): one for one in figures_of(found, Layout())}
    case = next(case for case, _ in figures if "resumed" in case)
    bare = figures[case, "CPU per resumed client without the token's check"]
    assert (bare.value, bare.met) == (140, True)
    assert figures[case, "CPU of the edge per client"].value == 200
    wall = figures[case, "until all are resumed, less the tokens' checks"]
    assert wall.value == pytest.approx(0.95)
    assert figures["all stages", "upgrades answered 503, at most"].met is False


def test_only_good_tokens_are_timed() -> None:
    """A token that does not pass is no check of one."""
    assert check_us(SECRET, [mint(SECRET, "u")]) > 0
    with pytest.raises(Unauthorized):
        check_us(SECRET, [mint("x" * 32, "u")])


def test_the_longest_stop_is_that_of_any_generation() -> None:
    """But not of the collection that was asked for; memory that the kernel does not tell has no line."""
    one = Held(9.0, None, 0.5, 2.0, {"0": 3.0, "1": 8.0, "full": 90.0})
    figures = {
        (each.case.split(":")[0].split()[-1], each.figure): each.value
        for each in figures_of_held(dict.fromkeys(HELD, one), Layout(), "connects")
    }
    assert figures["resumed", "longest stop by the garbage collector"] == 8
    assert figures["resumed", "stop of a full collection, made on purpose"] == 90
    assert not [name for _, name in figures if "objects" in name or "generation 2" in name]


class _Server:
    """Welcomes into one channel, and answers cursors."""

    def __init__(self) -> None:
        self.upgrades = 0
        self.cursors: list[dict[str, object]] = []

    def gate(self, _connection: ServerConnection, _request: Request) -> None:
        self.upgrades += 1

    async def converse(self, connection: ServerConnection) -> None:
        cursors = orjson.loads(await connection.recv())["cursors"]
        self.cursors.append(cursors)
        await connection.send('{"type":"welcome","channels":[{"id":"c","epoch":"e","head":7}]}')
        for channel in cursors:
            answer = {"type": "resumed", "channel": channel, "from": 7, "to": 7, "complete": True, "count": 0}
            await connection.send(orjson.dumps(answer).decode())
        await connection.wait_closed()


async def test_guests_go_as_far_as_asked() -> None:
    """Silent; without a hello; without cursors; at last with those of the time before."""
    server, crowd = _Server(), ConnectsCrowd()
    crowd.obey({"guests": [["token", 1], ["token", 1]]})
    seen: list[tuple[int, int]] = []
    goals: tuple[Goal, ...] = ("tcp", "upgrade", "hello", "hello")

    def come(url: str, goal: Goal) -> None:
        crowd.obey({"come": url, "goal": goal, "within_s": DEADLINE_S})
        deadline_s = time.monotonic() + DEADLINE_S
        while not all(guest.ready_s for guest in crowd.guests):
            assert time.monotonic() < deadline_s
            crowd.turn()
        seen.append((server.upgrades, len(server.cursors)))
        crowd.obey({"leave": True})

    async with serve(server.converse, "127.0.0.1", 0, process_request=server.gate) as running:
        url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        for goal in goals:
            await asyncio.to_thread(come, url, goal)
    assert seen == [(0, 0), (2, 0), (4, 2), (6, 4)]
    assert server.cursors == [{}, {}, *[{"c": {"epoch": "e", "seq": 7}}] * 2]


OBSERVED = """
import gc, os, signal
gc.collect()
signal.raise_signal(signal.SIGUSR1)
first = open(f"{os.environ['BENCH_STOPS']}/{os.getpid()}.json").read()
gc.collect(0)
signal.raise_signal(signal.SIGUSR1)
second = open(f"{os.environ['BENCH_STOPS']}/{os.getpid()}.json").read()
print(f"[{first},{second}]")
"""


def test_a_process_tells_its_stops_since_it_was_asked(tmp_path: Path) -> None:
    """Without any code of its own: a full collection shows once, and each answer has one made for it."""
    done = subprocess.run(
        [sys.executable, "-c", OBSERVED],
        env=os.environ | environment(tmp_path),
        capture_output=True,
        check=True,
    )
    first, second = orjson.loads(done.stdout)
    assert {"2", "full"} <= first.keys()
    assert {"0", "full"} == second.keys()
    assert min(*first.values(), *second.values()) > 0
