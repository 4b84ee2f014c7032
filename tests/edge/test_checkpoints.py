"""Which checkpoints an edge begins with."""

from __future__ import annotations

import asyncio

from edge.checkpoints import Checkpoints
from edge.epochs import Epochs
from shared.bus import Bus
from shared.ids import Epoch, Seq, StreamSeq
from shared.records import Checkpoint
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, checkpoint_key, kv_subject, partition_of
from tests.support.archive import key_of
from tests.support.storing import put


async def test_those_of_the_present_epoch(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """One of an epoch that is over counts another log; one from before there were epochs counts this one."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    keys = {name: key_of(name) for name in ("now", "old", "over", "torn", "none")}
    for name, key in keys.items():
        partition = partition_of(key, 2)
        epoch = {"now": layout.epochs[partition], "old": Epoch(""), "over": Epoch("e0")}.get(name)
        body = b"?"
        if epoch is not None:
            one = Checkpoint(seq=Seq(3), stream_seq=StreamSeq(7), state=None, epoch=epoch)
            body = one.model_dump_json().encode()
        if name != "none":
            await put(fresh_bus, kv_subject(CHECKPOINTS, checkpoint_key(partition, key)), body)
    epochs = Epochs(fresh_bus, layout, spawn=lambda _: None, on_loss=print, on_proof=print)
    found = await Checkpoints(fresh_bus, 2, epochs, spawn=asyncio.ensure_future).of(keys.values())
    assert set(found) == {keys["now"], keys["old"]}
    await fresh_bus.api(f"STREAM.DELETE.KV_{CHECKPOINTS}", {})
    assert await Checkpoints(fresh_bus, 2, epochs, spawn=asyncio.ensure_future).of(keys.values()) == {}
