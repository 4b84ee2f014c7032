"""Streams and buckets: created once, the same for everybody."""

from __future__ import annotations

import asyncio
import json

import pytest

from shared.bus import Bus, Message
from shared.errors import Misconfigured
from shared.ids import Partition
from shared.log_epochs import look
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.storing import put
from tests.support.waiting import eventually


async def test_services_that_start_together_agree(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Whoever creates a stream decides its epoch; all others read it."""
    layouts = await asyncio.gather(*(ensure_streams(fresh_bus, fresh_settings) for _ in range(5)))
    assert all(layout == layouts[0] for layout in layouts)
    assert (await look(fresh_bus, Partition(1))).label == layouts[0].epochs[Partition(1)]


async def test_partitions_are_fixed_at_first_start(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Another number of partitions would send channels to other logs: refused with both numbers."""
    await ensure_streams(fresh_bus, fresh_settings)
    with pytest.raises(Misconfigured, match="2 partitions"):
        await ensure_streams(fresh_bus, fresh_settings.model_copy(update={"partitions": 4}))


async def test_committed_messages_are_republished(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """The live subject carries the message with its sequence and its predecessor's, and no duplicates."""
    await ensure_streams(fresh_bus, fresh_settings)
    live: list[Message] = []
    await fresh_bus.subscribe("live.0.w.c", live.append)
    for _ in range(2):
        await fresh_bus.commit("channel.0.w.c", b"a", msg_id="1")
    await fresh_bus.commit("channel.0.w.c", b"b", msg_id="2")
    await eventually(lambda: len(live) == 2)
    positions = [(m.body, m.headers["Nats-Sequence"], m.headers["Nats-Last-Sequence"]) for m in live]
    assert positions == [(b"a", "1", "0"), (b"b", "2", "1")]


async def test_logs_refuse_deletion(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Nobody can take a message out of the middle of a log: sequences stay contiguous."""
    await ensure_streams(fresh_bus, fresh_settings)
    ack = await put(fresh_bus, "channel.0.w.c", b"a")
    order = json.dumps({"seq": ack.stream_seq}).encode()
    answer = json.loads(await fresh_bus.request("$JS.API.STREAM.MSG.DELETE.LOG_0", order, timeout_s=30))
    assert answer["error"]["description"] == "message delete not permitted"
