"""`activate`: twenty thousand channels come up on one edge, because those who are in them say hello.

Each repetition is an edge that has seen none of them yet. Channels hold one event, and have a
checkpoint; so it is the price of a channel as such: subscription, checkpoint, look at the tail, state, seat
of its member. Reference: as many subscriptions of bare nats-py in a process of its own. Afterwards all edges
are watched together for one interval of the sweep that compares every channel with its log, beside an edge
that has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from edge.feeds import SWEEP_INTERVAL_S
from edge.settings import EdgeSettings
from shared import events as e
from shared.bus import Bus
from shared.clock import now_us
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId, new_command_id
from shared.subjects import (
    CHECKPOINTS,
    DIRECTORY,
    bucket_stream,
    channel_subject,
    live_subject,
    message_id,
    partition_of,
)
from tests.bench.child import child
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import CpuMeter, median, rss_bytes
from tests.bench.report import Figure
from tests.bench.system import WORKSPACE, System, running

NAME = "activate"
CHANNELS = 20_000
CHANNELS_OF_USER: int = EdgeSettings.model_fields["subscriptions_max"].default
USERS = CHANNELS // CHANNELS_OF_USER
EDGES_MAX = 3
COMMITS_MAX = 256
UP_S, DERIVED_S, LOOK_AGAIN_S, SETTLE_S = 240.0, 120.0, 0.1, 1.0
MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bare:
    """One subscription of nats-py."""

    cpu_us: float
    rss_kb: float


@dataclass(frozen=True, slots=True)
class Up:
    """What one edge spent until all channels were up."""

    wall_s: float
    edge_us: float
    nats_us: float
    rss_kb: float
    rss_mb: float
    bare: Bare


_BARE = TypeAdapter(Bare)


async def measure(repetitions: int) -> list[Figure]:
    """An edge for each repetition, at most three, and one more that stays empty."""
    count = min(repetitions, EDGES_MAX)
    async with running(edges=count + 1, durability="process") as system, contextlib.AsyncExitStack() as stack:
        async with system.bus() as bus:
            await _fill(bus, system.run.partitions)
            await _derived(bus)
        ups = []
        for number in range(1, count + 1):
            up, sessions = await _up(system, number)
            ups.append(up)
            for session in sessions:
                stack.callback(session.close)
        return [*_up_figures(ups), *await _idle_figures(system, count)]


# ---------------------------------------------------------------- up


async def _up(system: System, number: int) -> tuple[Up, Sequence[LoadClient]]:
    """Everybody says hello to this edge; their sessions stay."""
    pid = system.pid(f"edge-{number}")
    before = rss_bytes(pid)
    meter = CpuMeter(edge=pid, nats=system.pid("nats-1"))
    began = time.monotonic()
    sessions = await asyncio.gather(*(_enter(system, number, user) for user in range(USERS)))
    wall_s = time.monotonic() - began
    edge_us, nats_us = (meter.used_us(name) / CHANNELS for name in ("edge", "nats"))
    await asyncio.sleep(SETTLE_S)
    after = rss_bytes(pid)
    up = Up(
        wall_s=wall_s,
        edge_us=edge_us,
        nats_us=nats_us,
        rss_kb=(after - before) / 1024 / CHANNELS,
        rss_mb=after / MB,
        bare=await _bare(system),
    )
    return up, sessions


async def _enter(system: System, number: int, user: int) -> LoadClient:
    session = await open_session(system.edges[number - 1], system.token(_user(user)))
    channels = {_channel(channel) for channel in range(CHANNELS) if channel % USERS == user}
    await session.until(lambda: len(session.channels) >= len(channels), within_s=UP_S)
    assert session.channels == channels
    return session


async def _bare(system: System) -> Bare:
    settings = system.bus_settings()
    subjects = [
        live_subject(partition_of(key, system.run.partitions), key) for key in map(_key, range(CHANNELS))
    ]
    question: dict[str, object] = {
        "url": settings.nats_url,
        "user": settings.nats_user,
        "password": settings.nats_password,
        "subjects": subjects,
    }
    async with child("tests.bench.bare_subscriptions") as process:
        return _BARE.validate_python(await process.ask(question, UP_S))


def _up_figures(ups: Sequence[Up]) -> list[Figure]:
    case = f"{CHANNELS:,} channels of {USERS} users come up"

    def figure(
        name: str, unit: str, pick: Callable[[Up], float], bare: Callable[[Bare], float] | None = None
    ) -> Figure:
        return Figure(
            bench=NAME,
            case=case,
            figure=name,
            unit=unit,
            value=median(pick(up) for up in ups),
            repetitions=len(ups),
            reference=median(bare(up.bare) for up in ups) if bare else None,
            reference_name="bare subscribe of nats-py" if bare else "",
            ratio=median(pick(up) / bare(up.bare) for up in ups) if bare else None,
        )

    return [
        figure("until all are up", "s", lambda up: up.wall_s),
        figure("CPU of edge", "us/channel", lambda up: up.edge_us, lambda bare: bare.cpu_us),
        figure("CPU of nats", "us/channel", lambda up: up.nats_us),
        figure("RSS of edge", "KB/channel", lambda up: up.rss_kb, lambda bare: bare.rss_kb),
        figure("RSS of edge", "MB", lambda up: up.rss_mb),
    ]


# ---------------------------------------------------------------- idle


async def _idle_figures(system: System, count: int) -> list[Figure]:
    """All edges at once; the last one has no channels."""
    meter = CpuMeter(
        nats=system.pid("nats-1"),
        **{str(number): system.pid(f"edge-{number}") for number in range(1, count + 2)},
    )
    await asyncio.sleep(SWEEP_INTERVAL_S)
    full = [100 * meter.share(str(number)) for number in range(1, count + 1)]
    empty, nats = 100 * meter.share(str(count + 1)), 100 * meter.share("nats")
    case = f"{CHANNELS:,} idle channels, {SWEEP_INTERVAL_S:g} s with one sweep"
    per_channel = [share * 1e4 / CHANNELS for share in full]
    return [
        Figure(NAME, case, "CPU of edge", "us/channel/s", median(per_channel), count),
        Figure(
            NAME,
            case,
            "CPU of edge",
            "% of a core",
            median(full),
            count,
            reference=empty,
            reference_name="edge without channels",
            ratio=median(share / empty for share in full),
        ),
        Figure(NAME, case, f"CPU of nats, for {count} such edges", "% of a core", nats, 1),
    ]


# ---------------------------------------------------------------- what there is


async def _fill(bus: Bus, partitions: int) -> None:
    """Every channel's first event, as an edge would write it."""
    gate = asyncio.Semaphore(COMMITS_MAX)

    async def create(number: int) -> None:
        key, author = _key(number), UserId(_user(number % USERS))
        event = e.ChannelCreated(
            id=new_command_id(now_us() // 1000), author=author, channel_kind="private", name=key.channel
        )
        async with gate:
            await bus.commit(
                channel_subject(partition_of(key, partitions), key),
                e.encode(event),
                msg_id=message_id(key, author, event.id),
            )

    await asyncio.gather(*(create(number) for number in range(CHANNELS)))


async def _derived(bus: Bus) -> None:
    """Returns when the sequencer has told the directory, and has written checkpoints, of all channels."""
    async with asyncio.timeout(DERIVED_S):
        for bucket in (DIRECTORY, CHECKPOINTS):
            async for held in _held(bus, bucket):
                if held >= CHANNELS:
                    break


async def _held(bus: Bus, bucket: str) -> AsyncIterator[int]:
    """How many values a bucket holds, again and again."""
    while True:
        answer = await bus.api(f"STREAM.INFO.{bucket_stream(bucket)}", {})
        state = answer["state"]
        assert isinstance(state, dict)
        yield int(state["messages"])
        await asyncio.sleep(LOOK_AGAIN_S)


def _key(number: int) -> ChannelKey:
    return ChannelKey(WorkspaceId(WORKSPACE), ChannelId(_channel(number)))


def _user(number: int) -> str:
    return f"a{number}"


def _channel(number: int) -> str:
    return f"active-{number:05d}"
