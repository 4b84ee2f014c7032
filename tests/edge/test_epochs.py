"""A log that was replaced under a running system: every client is told, and no number means two things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge import epochs as edge_epochs
from edge.epochs import Epochs
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, Partition, StreamSeq, WorkspaceId
from shared.log_epochs import begin_epoch, judge, look, saved_position
from shared.records import Position
from shared.settings import CommonSettings
from shared.streams import Layout, ensure_streams
from shared.subjects import CHECKPOINTS, kv_subject, partition_of, position_key
from tests.support.peer import WORKSPACE, Peer
from tests.support.stack import Stack, running_stack
from tests.support.storing import put
from tests.support.waiting import eventually

P0, P1 = Partition(0), Partition(1)


class Known:
    """The epochs of one edge, and what was reported lost and proven."""

    def __init__(self, bus: Bus, layout: Layout) -> None:
        self.lost: list[Partition] = []
        self.proofs: list[Partition] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.epochs = Epochs(
            bus,
            layout,
            spawn=lambda work: self.tasks.append(asyncio.ensure_future(work)),
            on_loss=self.lost.append,
            on_proof=self.proofs.append,
        )

    async def are_proven(self, *partitions: Partition) -> None:
        await eventually(lambda: all(map(self.epochs.is_proven, partitions)), within_s=30)


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
    await put(bus, kv_subject(CHECKPOINTS, position_key(P0)), position.model_dump_json().encode())


async def test_doubt_ends_when_the_log_is_proven(known: Known, layout: Layout) -> None:
    """Nothing was replaced: activations wait for a moment, and nothing is given up."""
    known.epochs.doubt_all()
    await known.epochs.settled([P0, P1])
    await known.are_proven(P0, P1)
    assert [known.epochs.of(partition) for partition in (P0, P1)] == list(layout.epochs.values())
    assert (known.lost, sorted(known.proofs)) == ([], [P0, P1])
    known.epochs.check()
    assert known.epochs.is_proven(P0)


async def test_a_refuted_log_is_of_no_use_until_its_epoch_has_changed(
    fresh_bus: Bus, known: Known, layout: Layout
) -> None:
    """Its feeds are given up, activations are refused, and the new epoch ends that; other logs go on."""
    old = layout.epochs[P0]
    await save(fresh_bus, Position(stream_seq=StreamSeq(9), at_us=1, epoch=old))
    known.epochs.doubt_all()
    await known.are_proven(P1)
    await eventually(lambda: known.lost == [P0], within_s=30)
    await known.epochs.settled([P0, P1])
    assert not known.epochs.is_proven(P0)
    new = await begin_epoch(fresh_bus, await judge(fresh_bus, P0))
    await known.are_proven(P0)
    assert new == known.epochs.of(P0) != old
    assert known.lost == [P0, P0]


async def test_heads_in_another_epoch_raise_a_doubt(fresh_bus: Bus, known: Known, layout: Layout) -> None:
    """Who did not lose the connection hears of the change from the sequencer."""
    known.epochs.doubt_all()
    await known.are_proven(P0)
    new = await begin_epoch(fresh_bus, await judge(fresh_bus, P0))
    known.epochs.heard(P0, layout.epochs[P0])
    known.epochs.heard(Partition(7), new)
    assert known.epochs.is_proven(P0)
    known.epochs.heard(P0, new)
    assert not known.epochs.is_proven(P0)
    await known.are_proven(P0)
    assert (known.epochs.of(P0), known.lost) == (new, [P0])


async def test_a_check_doubts_nothing_before_it_has_seen_it(
    fresh_bus: Bus, known: Known, layout: Layout
) -> None:
    """A log that lost its end without a lost connection is found, and used until then."""
    known.epochs.doubt_all()
    await known.are_proven(P0)
    await save(fresh_bus, Position(stream_seq=StreamSeq(9), at_us=1, epoch=layout.epochs[P0]))
    known.epochs.check()
    assert known.epochs.is_proven(P0)
    await eventually(lambda: known.lost == [P0], within_s=30)
    assert not known.epochs.is_proven(P0)


async def test_a_bug_under_a_proof_does_not_end_all_proofs(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next doubt, or the next check, begins another one."""
    with monkeypatch.context() as patched:
        patched.setattr(edge_epochs, "proven", None)
        patched.setattr(edge_epochs, "likely_epoch", None)
        known.epochs.doubt_all()
        await asyncio.wait(known.tasks)
    assert not known.epochs.is_proven(P0)
    assert {type(task.exception()) for task in known.tasks} == {TypeError}
    known.epochs.check()
    await known.are_proven(P0, P1)


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_an_older_copy_under_a_running_system(tmp_path: Path) -> None:
    """Every session on every edge is reset, quiet channels too; lost channels end, and writing goes on."""
    *kept, lost = _channels_of(P0, 4)
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
                read = await peer.take("read", channel=name)
                assert (read["seq"], read["unread"]) == (0, 0)
            assert (await peer.take("channel", member=False))["channel"]["id"] == lost
        assert await _say(ann, bob, kept[0], "again") == 3
        assert (await ann.ask("send", channel=lost, text="where are you"))["code"] == "not_found"
        old = {name: {"epoch": epochs[name], "seq": 1} for name in kept}
        await bob.send({"type": "resume", "cursors": old})
        for name in kept:
            assert (await bob.take("reset", channel=name))["reason"] == "foreign_epoch"


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_one_doubtful_log_delays_only_its_own_channels(tmp_path: Path) -> None:
    """A hello is answered with the channels of other logs; the rest comes when their log is proven (P6)."""
    (doubtful,), (fine,) = _channels_of(P0, 1), _channels_of(P1, 1)
    async with running_stack(tmp_path) as stack:
        async with Peer.opened(stack.url, "ann") as ann:
            for name in (doubtful, fine):
                await ann.do("create_channel", kind="public", name=name, channel=name)
            epoch = (await ann.take("channel", member=True))["channel"]["epoch"]
        await _counted(stack)
        stack.sequencer.kill()
        async with Bus.connect(CommonSettings(nats_url=stack.nats.url, partitions=2), "test") as bus:
            saved = (await saved_position(bus, P0)).position
            assert saved is not None
            await save(bus, saved.model_copy(update={"stream_seq": StreamSeq(saved.stream_seq + 9)}))
        await stack.add_edge()
        cursor = {"epoch": epoch, "seq": 1}
        async with Peer.opened(stack.address(1), "ann", cursors={doubtful: cursor, fine: cursor}) as again:
            assert [channel["id"] for channel in again.welcome["channels"]] == [fine]
            refused = await again.ask("send", channel=doubtful, text="!")
            assert refused["code"] == "unavailable"
            await again.do("send", channel=fine, text="!")
            await stack.sequencer.start()
            told = (await again.take("channel", member=True))["channel"]
            assert (told["id"], told["head"], told["epoch"] == epoch) == (doubtful, 1, False)
            assert (await again.take("reset", channel=doubtful))["reason"] == "foreign_epoch"
            await again.do("send", channel=doubtful, text="!", id=refused["id"])


def _channels_of(partition: Partition, count: int) -> list[str]:
    keys = (ChannelKey(WorkspaceId(WORKSPACE), ChannelId(f"ch{number}")) for number in range(100))
    return [key.channel for key in keys if partition_of(key, 2) == partition][:count]


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
            position = (await saved_position(bus, P0)).position
            return position is not None and position.stream_seq == (await look(bus, P0)).last

        await eventually(saved, within_s=30)
