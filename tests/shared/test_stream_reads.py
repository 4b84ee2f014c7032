"""Reading streams back from a real server: what is known to exist is found, whoever answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from shared import stream_reads
from shared.bus import Bus, BusError, Message
from shared.errors import Unavailable
from shared.ids import Partition, StreamSeq
from shared.stream_reads import has_majority
from shared.streams import ensure_streams
from shared.subjects import log_stream
from tests.support.cluster import operator_settings, servers_of_cluster
from tests.support.nats import NatsServer
from tests.support.storing import put
from tests.support.waiting import eventually

LOG = "LOG_0"


async def test_read_between_is_exact(log: Bus) -> None:
    """A hole is filled with every message of the subject and no other, over several batches."""
    for number in range(600):
        await log.commit(f"channel.0.w.c{number % 2}", b"x", msg_id=f"m/{number}")
    found = await log.read_between(LOG, "channel.0.w.c0", StreamSeq(11), StreamSeq(599))
    assert [stored.stream_seq for stored in found] == list(range(13, 600, 2))


async def test_read_between_refuses_what_is_not_there(log: Bus) -> None:
    """A position that the log does not hold is an error, not a shorter answer."""
    await put(log, "channel.0.w.c", b"x")
    with pytest.raises(Unavailable):
        await log.read_between(LOG, "channel.0.w.c", StreamSeq(0), StreamSeq(5))


async def test_last_and_scan(log: Bus) -> None:
    """`direct_last` returns the newest of each subject that exists; `scan` enumerates them all."""
    for number in range(1200):
        await log.commit(f"$KV.READS.w.u{number % 700}.c", str(number).encode(), msg_id=f"m/{number}")
    subjects = [f"$KV.READS.w.u{number}.c" for number in range(710)]
    newest = await log.direct_last("KV_READS", subjects)
    assert len(newest) == 700
    assert newest["$KV.READS.w.u3.c"].body == b"703"
    scanned = [stored.subject async for batch in log.scan("KV_READS", "$KV.READS.w.>") for stored in batch]
    assert sorted(scanned) == sorted(subjects[:700])


async def test_stored_asks_the_leader_last(log: Bus) -> None:
    """A message is found by position with its headers; one that was never stored is None."""
    ack = await log.commit("channel.0.w.c", b"x", msg_id="c/9")
    stored = await log.stored(LOG, ack.stream_seq)
    assert stored is not None
    assert (stored.body, stored.headers["Nats-Msg-Id"]) == (b"x", "c/9")
    from_leader = await log._from_leader(LOG, {"seq": ack.stream_seq})
    assert from_leader is not None
    assert (from_leader.body, from_leader.at_us) == (stored.body, stored.at_us)
    assert from_leader.headers["Nats-Msg-Id"] == "c/9"
    assert await log.stored(LOG, StreamSeq(77)) is None


async def test_stored_survives_a_server_that_dies(log: Bus, fresh_nats_server: NatsServer) -> None:
    """Nobody answers Direct Get just now: the leader is asked until it is there."""
    ack = await log.commit("channel.0.w.c", b"x", msg_id="c/9")
    await asyncio.to_thread(fresh_nats_server.kill)
    asked = asyncio.create_task(log.stored(LOG, ack.stream_seq))
    await asyncio.to_thread(fresh_nats_server.start)
    stored = await asked
    assert stored is not None
    assert stored.body == b"x"


async def test_api_errors_carry_their_number(log: Bus) -> None:
    """JetStream's refusals are told apart by their own number."""
    with pytest.raises(BusError) as caught:
        await log.api("STREAM.INFO.NOPE", {})
    assert caught.value.err_code == 10059


async def test_an_api_that_cannot_is_unavailable(log: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster without a leader says 503: that is asked again, and is no refusal when the time is over."""
    monkeypatch.setattr(stream_reads, "API_DEADLINE_S", 0.5)
    asked: list[asyncio.Future[None]] = []

    def answer(message: Message) -> None:
        said = {"error": {"code": 503, "err_code": 10008, "description": "JetStream system unavailable"}}
        asked.append(asyncio.ensure_future(log.publish(message.reply, json.dumps(said).encode())))

    await log.subscribe("$JS.API.NO.LEADER", answer)
    with pytest.raises(Unavailable, match="system unavailable"):
        await log.api("NO.LEADER", {})
    assert len(asked) > 1


@pytest.mark.parametrize(
    ("cluster", "is_confirmed"),
    [
        (None, True),
        ({"leader": "a"}, True),
        ({"leader": "a", "replicas": [{"active": 10**9}, {"active": 60 * 10**9}]}, True),
        ({"leader": "a", "replicas": [{"active": 3 * 10**9}, {"active": 60 * 10**9}]}, False),
        ({"leader": "a", "replicas": [{"active": 10**9, "offline": True}, {"active": 60 * 10**9}]}, False),
        ({"leader": "a", "replicas": [{"active": 10**9}, {"active": 4 * 10**9}] * 2}, True),
        ({"leader": "a", "replicas": [{"active": 10**9}, *[{"active": 4 * 10**9}] * 3]}, False),
    ],
)
def test_a_leader_needs_a_majority(cluster: object, is_confirmed: bool) -> None:
    """Alone, with one of two others, with two of four; not with one of four, nor with silent ones."""
    assert has_majority(cluster) == is_confirmed


@pytest.mark.faults
async def test_a_leader_that_is_cut_off_is_not_believed(tmp_path: Path) -> None:
    """While it believes to lead it answers, and what it says does not count until the others are back."""
    cluster = servers_of_cluster(tmp_path)
    for server in cluster.values():
        server.start()
    settings = operator_settings(cluster)
    stream = log_stream(Partition(0))
    try:
        async with Bus.connect(settings, "operator") as bus:
            await ensure_streams(bus, settings)
            leader = await eventually(lambda: _leader(bus, stream))
        alone = settings.model_copy(update={"nats_url": cluster[leader].url})
        others = [server for name, server in cluster.items() if name != leader]
        async with Bus.connect(alone, "operator") as bus:
            await eventually(lambda: _is_believed(bus, stream))
            for server in others:
                server.pause()
            await eventually(lambda: _is_refused(bus, stream), every_s=0.1)
            for server in others:
                server.unpause()
            await eventually(lambda: _is_believed(bus, stream))
    finally:
        for server in cluster.values():
            server.kill()


async def _leader(bus: Bus, stream: str) -> str:
    cluster = (await bus.api(f"STREAM.INFO.{stream}", {}))["cluster"]
    assert isinstance(cluster, dict)
    return str(cluster.get("leader") or "")


async def _is_believed(bus: Bus, stream: str) -> bool:
    with contextlib.suppress(Unavailable, BusError):
        return await bus.confirmed_end(stream) == 0
    return False


async def _is_refused(bus: Bus, stream: str) -> bool:
    """By what the leader says; later it says nothing."""
    try:
        await bus.confirmed_end(stream)
    except Unavailable as error:
        return "the others confirm" in error.message
    return False
