"""What an edge holds for connections, by how far they have come, and how long its garbage collector stops it.

An edge for each kind of connection, fresh from its start, because a process keeps what it once had; memory is
what is resident, shared pages included. Both ends of a connection are on this machine, so the kernel's share
is that of two sockets: the objects of a fixed size that every socket needs, where the kernel tells them, and
what its TCP buffers take. Each edge measures the stops of its own garbage collector, see `observed`: those
that happen by themselves while the crowd comes and stays, and that of a full collection afterwards.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.layout import OWNER, Layout
from tests.bench.load_client import open_session
from tests.bench.measure import CpuMeter, rss_bytes, slab_bytes, tcp_buffer_bytes
from tests.bench.report import Figure
from tests.bench.stops import environment, stops_ms
from tests.bench.system import Launch, System, running
from tests.bench.visits import (
    RESUMED,
    STAGES,
    Crowds,
    Stage,
    accepted,
    all_accepted,
    case_of,
    crowds_of,
    rest,
)

HELD = tuple(stage for stage in STAGES if not stage.missed)
SLABS = ("TCP", "sock_inode_cache", "filp", "eventpoll_epi")
"""The socket, its inode, the file, and its entry in a poll set."""

WATCH_S = 10.0
_KB = 1024


@dataclass(frozen=True, slots=True)
class Held:
    """Of one edge: memory for each connection, and the longest stops by generation (and `full`)."""

    rss_kb: float
    slab_kb: float | None
    buffers_kb: float
    cpu_percent: float
    stops_ms: Mapping[str, float]


async def held(layout: Layout, bench: str, env: Mapping[str, str]) -> list[Figure]:
    """Once for each kind of connection; the members get their cursors from one edge more."""
    with tempfile.TemporaryDirectory(prefix="parley-stops-") as name:
        told = Path(name)
        settings = {**env, "PARLEY_HEARTBEAT_S": str(WATCH_S)}
        launch = Launch(env=environment(told))
        async with (
            running(edges=len(HELD) + 1, env=settings, launch=launch) as system,
            crowds_of(system, layout) as crowds,
        ):
            owner = await open_session(system.edges[-1], system.token(OWNER))
            await layout.create(owner)
            await crowds.members.come(system.edges[-1], "hello")
            await crowds.members.leave()
            found = {
                stage: await _held(system, crowds, layout, number, told) for number, stage in enumerate(HELD)
            }
            owner.close()
    return figures_of(found, layout, bench)


async def _held(system: System, crowds: Crowds, layout: Layout, number: int, told: Path) -> Held:
    """One kind, on an edge that has all channels active and has seen none of the crowd."""
    stage, url, pid = HELD[number], system.edges[number], system.pid(f"edge-{number + 1}")
    owner = await open_session(url, system.token(OWNER))
    await owner.until_member({layout.channel(channel) for channel in range(layout.channels)})
    crowd = crowds.members if stage.known else crowds.strangers
    await stops_ms(pid, told)
    await rest(pid)
    before, rss, slab, buffers = accepted(url), rss_bytes(pid), _slab(), _buffers()
    await crowd.come(url, stage.goal)
    await all_accepted(url, before + crowd.count)
    await rest(pid)
    meter = CpuMeter(edge=pid)
    await asyncio.sleep(WATCH_S)
    slab_after = _slab()
    kb = _KB * crowd.count
    one = Held(
        cpu_percent=100 * meter.share("edge"),
        rss_kb=(rss_bytes(pid) - rss) / kb,
        slab_kb=None if slab is None or slab_after is None else (slab_after - slab) / kb,
        buffers_kb=(_buffers() - buffers) / kb,
        stops_ms=await stops_ms(pid, told),
    )
    await crowd.leave()
    owner.close()
    return one


def _slab() -> int | None:
    """None where only the administrator may read it."""
    try:
        return slab_bytes(Path("/proc/slabinfo").read_text(), SLABS)
    except PermissionError:
        return None


def _buffers() -> int:
    return tcp_buffer_bytes(Path("/proc/net/sockstat").read_text())


def figures_of(found: Mapping[Stage, Held], layout: Layout, bench: str) -> list[Figure]:
    """Memory of every kind of connection; of resumed ones also what they cost as they stay."""
    figures = []
    for stage, one in found.items():
        case = case_of(stage, layout)
        figures.append(Figure(bench, case, "RSS of the edge per connection", "KB", one.rss_kb, 1))
        if one.slab_kb is not None:
            name = "kernel objects of a connection, both ends"
            figures.append(Figure(bench, case, name, "KB", one.slab_kb, 1))
        name = "kernel TCP buffers of a connection, both ends"
        figures.append(Figure(bench, case, name, "KB", one.buffers_kb, 1))
    case, resumed = case_of(RESUMED, layout), found[RESUMED]
    name = f"CPU of the edge that holds them, a heartbeat every {WATCH_S:g} s"
    figures.append(Figure(bench, case, name, "% of a core", resumed.cpu_percent, 1))
    longest = max((ms for kind, ms in resumed.stops_ms.items() if kind != "full"), default=0.0)
    figures.append(Figure(bench, case, "longest stop by the garbage collector", "ms", longest, 1))
    for generation in "012":
        if generation in resumed.stops_ms:
            name = f"longest stop, generation {generation}"
            figures.append(Figure(bench, case, name, "ms", resumed.stops_ms[generation], 1))
    name = "stop of a full collection, made on purpose"
    figures.append(Figure(bench, case, name, "ms", resumed.stops_ms["full"], 1))
    return figures
