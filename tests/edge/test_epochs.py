"""A log that was replaced under a running system: every client is told, and no number means two things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.epochs import Epochs
from shared.bus import Bus
from shared.errors import Unavailable
from shared.ids import ChannelId, ChannelKey, Partition, StreamSeq, WorkspaceId
from shared.log_epochs import change_epoch, look, saved_position
from shared.records import Position
from shared.settings import CommonSettings
from shared.streams import Layout, ensure_streams
from shared.subjects import CHECKPOINTS, kv_subject, partition_of, position_key
from tests.support.peer import WORKSPACE, Peer
from tests.support.stack import Stack, running_stack
from tests.support.waiting import eventually

P0, P1 = Partition(0), Partition(1)


class Known:
    """The epochs of one edge, and what was reported lost."""

    def __init__(self, bus: Bus, layout: Layout) -> None:
        self.lost: list[Partition] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.epochs = Epochs(
            bus,
            layout,
            spawn=lambda work: self.tasks.append(asyncio.ensure_future(work)),
            on_loss=self.lost.append,
        )


@pytest.fixture
async def layout(fresh_bus: Bus, fresh_settings: CommonSettings) -> Layout:
    return await ensure_streams(fresh_bus, fresh_settings)


@pytest.fixture
async def known(fresh_bus: Bus, layout: Layout) -> AsyncIterator[Known]:
    known = Known(fresh_bus, layout)
    yield known
    for task in known.tasks:
        task.cancel()


async def save(bus: Bus, position: Position) -> None:
    await bus.commit(kv_subject(CHECKPOINTS, position_key(P0)), position.model_dump_json().encode())


async def test_doubt_ends_when_the_log_is_proven(known: Known, layout: Layout) -> None:
    """Nothing was replaced: activations wait for a moment, and nothing is given up."""
    known.epochs.doubt_all()
    for partition in (P0, P1):
        await known.epochs.proven(partition)
        assert known.epochs[partition] == layout.epochs[partition]
    assert known.lost == []


async def test_a_refuted_log_is_of_no_use_until_its_epoch_has_changed(
    fresh_bus: Bus, known: Known, layout: Layout
) -> None:
    """Its feeds are given up at once, activations are refused, and the new epoch ends that."""
    old = layout.epochs[P0]
    await save(fresh_bus, Position(stream_seq=StreamSeq(9), at_us=1, epoch=old))
    known.epochs.doubt_all()
    await eventually(lambda: known.lost == [P0])
    with pytest.raises(Unavailable):
        await known.epochs.proven(P0)
    await known.epochs.proven(P1)
    new = await change_epoch(fresh_bus, P0, old)
    await save(fresh_bus, Position(stream_seq=StreamSeq(0), epoch=new))
    await known.epochs.proven(P0)
    assert (known.epochs[P0], known.lost) == (new, [P0, P0])


async def test_heads_in_another_epoch_raise_a_doubt(fresh_bus: Bus, known: Known, layout: Layout) -> None:
    """Who did not lose the connection hears of the change from the sequencer."""
    known.epochs.doubt_all()
    await known.epochs.proven(P0)
    new = await change_epoch(fresh_bus, P0, layout.epochs[P0])
    known.epochs.heard(P0, layout.epochs[P0])
    assert known.lost == []
    known.epochs.heard(P0, new)
    await known.epochs.proven(P0)
    assert (known.epochs[P0], known.lost) == (new, [P0])


async def test_an_older_copy_under_a_running_system(tmp_path: Path) -> None:
    """Every session on every edge is reset, quiet channels too; lost channels end, and writing goes on."""
    *kept, lost = _channels_of_partition_0(4)
    async with (
        running_stack(tmp_path, edges=2) as stack,
        Peer.opened(stack.url, "ann") as ann,
        Peer.opened(stack.address(1), "bob") as bob,
    ):
        epochs = {name: await _shared(ann, bob, name) for name in kept}
        copy = await asyncio.to_thread(stack.nats.copy_stream, "LOG_0")
        epochs[lost] = await _shared(ann, bob, lost)
        for name in kept:
            assert await _say(ann, bob, name, "lost") == 3
        await _counted(stack)
        for peer in (ann, bob):
            peer.frames.clear()
        await asyncio.to_thread(stack.nats.restore_stream, "LOG_0", copy)
        for peer in (ann, bob):
            for name in kept:
                reset = await peer.take("reset", channel=name)
                assert (reset["reason"], reset["head"]) == ("log_regressed", 2)
                assert reset["epoch"] != epochs[name]
            assert (await peer.take("channel", member=False))["channel"]["id"] == lost
        assert await _say(ann, bob, kept[0], "again") == 3
        assert (await ann.ask("send", channel=lost, text="where are you"))["code"] == "not_found"
        old = {name: {"epoch": epochs[name], "seq": 1} for name in kept}
        await bob.send({"type": "resume", "cursors": old})
        for name in kept:
            assert (await bob.take("reset", channel=name))["reason"] == "foreign_epoch"


def _channels_of_partition_0(count: int) -> list[str]:
    names = (f"ch{number}" for number in range(100))
    found = [n for n in names if partition_of(ChannelKey(WorkspaceId(WORKSPACE), ChannelId(n)), 2) == P0]
    return found[:count]


async def _shared(ann: Peer, bob: Peer, name: str) -> str:
    """A channel of both, two events long; its epoch."""
    await ann.do("create_channel", kind="public", name=name, channel=name)
    await bob.do("join", channel=name)
    info = (await bob.take("channel", member=True))["channel"]
    await ann.event(name, 2)
    return str(info["epoch"])


async def _say(ann: Peer, bob: Peer, name: str, text: str) -> int:
    """A message that both get; its seq."""
    seq = int((await ann.do("send", channel=name, text=text))["seq"])
    for peer in (ann, bob):
        assert (await peer.event(name, seq))["text"] == text
    return seq


async def _counted(stack: Stack) -> None:
    """The sequencer has saved all that it has read."""
    async with Bus.connect(CommonSettings(nats_url=stack.nats.url, partitions=2), "test") as bus:

        async def saved() -> bool:
            position = await saved_position(bus, P0)
            return position is not None and position.stream_seq == (await look(bus, P0)).last

        await eventually(saved)
