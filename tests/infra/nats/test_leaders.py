"""Leaders spread by a plan of few moves, and moved on a real cluster that has all its copies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.nats.leaders import Move, leader_of, loads, move_leader, settled, spread
from infra.nats.stream_info import stream_info
from shared.bus import Bus
from shared.errors import Unavailable
from shared.retry import Deadline
from shared.streams import bucket_config, ensure_streams
from shared.subjects import BUCKETS, bucket_stream
from tests.support.cluster import SERVERS, operator_settings, servers_of_cluster
from tests.support.nats import NatsServer
from tests.support.waiting import eventually


@given(st.lists(st.sampled_from((*SERVERS, "gone")), max_size=30))
def test_a_spread_is_even_and_moves_no_more_than_needed(where: list[str]) -> None:
    """No server leads two more than another, and only what is too many somewhere moves, once."""
    leaders = {f"LOG_{number}": server for number, server in enumerate(where)}
    moves = spread(leaders, SERVERS)
    after = leaders | {move.stream: move.target for move in moves}
    counts = loads(after, SERVERS)
    assert sum(counts.values()) == len(leaders)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({move.stream for move in moves}) == len(moves)
    before = loads(leaders, SERVERS)
    assert len(moves) == sum(max(0, counts[server] - before[server]) for server in SERVERS)
    assert all(leaders[move.stream] == move.source != move.target for move in moves)


def test_an_even_spread_stays() -> None:
    """Nothing moves for its own sake."""
    assert spread({"a": "nats-1", "b": "nats-2", "c": "nats-3", "d": "nats-3"}, SERVERS) == []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, NatsServer]]:
    """Three servers by name."""
    servers = servers_of_cluster(tmp_path_factory.mktemp("cluster"))
    try:
        for server in servers.values():
            server.start()
        yield servers
    finally:
        for server in servers.values():
            server.kill()


@pytest.fixture
async def operator(cluster: dict[str, NatsServer]) -> AsyncIterator[Bus]:
    """A bus as the operator, when every stream has its copies."""
    settings = operator_settings(cluster)
    async with Bus.connect(settings, "test") as bus:
        await ensure_streams(bus, settings)
        await settled(bus, "LOG_0", _soon())
        yield bus


def _soon() -> Deadline:
    return Deadline.after(30)


async def _others(bus: Bus) -> tuple[str, list[str]]:
    leader = await leader_of(bus, "LOG_0", _soon())
    return leader, [server for server in SERVERS if server != leader]


async def test_a_leader_moves_to_the_server_that_was_named(operator: Bus) -> None:
    """To each of the others, and all copies are current when it returns."""
    leader, others = await _others(operator)
    for target in (*others, leader):
        source = await leader_of(operator, "LOG_0", _soon())
        assert await move_leader(operator, Move("LOG_0", source, target), _soon()) == target
        placement = (await stream_info(operator, "LOG_0")).cluster
        assert (placement.leader, placement.behind) == (target, ())


async def test_a_leader_moves_although_nobody_can_be_named(operator: Bus) -> None:
    """As where the server refuses the name: it steps down without one, and somebody else leads."""
    leader, others = await _others(operator)
    move = Move("LOG_0", leader, "nobody")
    assert await move_leader(operator, move, _soon(), anywhere=True) in others


async def test_nothing_moves_while_a_copy_is_away(cluster: dict[str, NatsServer], operator: Bus) -> None:
    """The error names the stream and the server; when that is back the move is done."""
    leader, (target, away) = await _others(operator)
    cluster[away].kill()
    await eventually(lambda: _behind(operator, away))
    with pytest.raises(Unavailable, match=rf"LOG_0: {away} not current"):
        await move_leader(operator, Move("LOG_0", leader, target), Deadline.after(0.5))
    assert await leader_of(operator, "LOG_0", _soon()) == leader
    cluster[away].start()
    assert await move_leader(operator, Move("LOG_0", leader, target), _soon()) == target


async def _behind(bus: Bus, server: str) -> bool:
    return server in (await stream_info(bus, "LOG_0")).cluster.behind


async def test_a_paused_copy_is_behind(cluster: dict[str, NatsServer], operator: Bus) -> None:
    """A server that is there and does nothing is no server to hand over to."""
    _, others = await _others(operator)
    asked = operator._client.connected_url
    assert asked is not None
    paused = next(name for name in others if f":{asked.port}" not in cluster[name].url)  # not who answers us
    cluster[paused].pause()
    try:
        await eventually(lambda: _behind(operator, paused))
    finally:
        cluster[paused].unpause()
    await settled(operator, "LOG_0", _soon())


@pytest.mark.faults
async def test_streams_wait_for_the_server_that_comes_last(tmp_path: Path) -> None:
    """Two of three have a leader and no place for three copies: no refusal while the third may come."""
    servers = servers_of_cluster(tmp_path)
    *early, late = servers.values()
    try:
        for server in early:
            server.start()
        settings = operator_settings(servers)
        async with Bus.connect(settings, "test") as bus:
            await eventually(lambda: _has_no_place(bus), within_s=60)
            creating = asyncio.create_task(ensure_streams(bus, settings))
            refused, _ = await asyncio.wait({creating}, timeout=1)
            assert not refused
            late.start()
            assert (await creating).partitions == 2
            assert len((await stream_info(bus, "LOG_1")).cluster.replicas) == 2  # and the leader
    finally:
        for server in servers.values():
            server.kill()


async def _has_no_place(bus: Bus) -> bool:
    wanted = orjson.dumps(bucket_config(BUCKETS[0], replicas=3))
    with contextlib.suppress(Unavailable):
        operation = f"$JS.API.STREAM.CREATE.{bucket_stream(BUCKETS[0])}"
        return b"no suitable peers" in await bus.request(operation, wanted, timeout_s=2)
    return False
