"""An epoch is believed only together with the event that the sequencer counted last."""

from __future__ import annotations

import pytest

from shared.bus import Bus
from shared.errors import LogRegressed
from shared.ids import Epoch, Partition, StreamSeq
from shared.log_epochs import change_epoch, holds, look, proven_epoch
from shared.records import Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, kv_subject, position_key

P0 = Partition(0)


@pytest.fixture
async def epoch(fresh_bus: Bus, fresh_settings: CommonSettings) -> Epoch:
    """Of a log that holds three messages."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    for number in range(3):
        await fresh_bus.commit("channel.0.w.c", b"%d" % number)
    return layout.epochs[P0]


async def save(bus: Bus, stream_seq: int, at_us: int, epoch: str) -> None:
    position = Position(stream_seq=StreamSeq(stream_seq), at_us=at_us, epoch=Epoch(epoch))
    await bus.commit(kv_subject(CHECKPOINTS, position_key(P0)), position.model_dump_json().encode())


async def time_of(bus: Bus, stream_seq: int) -> int:
    stored = await bus.stored("LOG_0", StreamSeq(stream_seq))
    assert stored is not None
    return stored.at_us


async def test_the_log_that_was_counted_is_proven(fresh_bus: Bus, epoch: Epoch) -> None:
    """Before anything was saved, and with a position that the log holds."""
    assert await proven_epoch(fresh_bus, P0) == epoch
    await save(fresh_bus, 2, await time_of(fresh_bus, 2), epoch)
    assert await proven_epoch(fresh_bus, P0) == epoch


@pytest.mark.parametrize(("stream_seq", "other"), [(4, False), (2, True)])
async def test_a_log_that_lost_its_end_is_not(
    fresh_bus: Bus, epoch: Epoch, stream_seq: int, other: bool
) -> None:
    """It is too short, or it has grown again with other events."""
    await save(fresh_bus, stream_seq, 1 if other else 0, epoch)
    with pytest.raises(LogRegressed):
        await proven_epoch(fresh_bus, P0)


async def test_an_epoch_that_the_sequencer_does_not_know_is_not_believed(
    fresh_bus: Bus, epoch: Epoch
) -> None:
    """An old copy brings its old epoch back: the position names the newest one."""
    await save(fresh_bus, 2, await time_of(fresh_bus, 2), "newer")
    with pytest.raises(LogRegressed, match="newer"):
        await proven_epoch(fresh_bus, P0)
    assert epoch


async def test_a_change_is_made_once(fresh_bus: Bus, fresh_settings: CommonSettings, epoch: Epoch) -> None:
    """The second one who replaces the same epoch finds it done; the stream stays as it was otherwise."""
    fresh = await change_epoch(fresh_bus, P0, epoch)
    assert await change_epoch(fresh_bus, P0, epoch) == fresh != epoch
    log = await look(fresh_bus, P0)
    assert (log.epoch, log.replaced, log.last) == (fresh, epoch, 3)
    assert (await ensure_streams(fresh_bus, fresh_settings)).epochs[P0] == fresh


async def test_what_was_trimmed_is_no_loss(fresh_bus: Bus, epoch: Epoch) -> None:
    """A position below the log's beginning says nothing against it."""
    await fresh_bus.api("STREAM.PURGE.LOG_0", {"seq": 3})
    log = await look(fresh_bus, P0)
    assert await holds(fresh_bus, log, StreamSeq(1), 5)
    assert epoch == log.epoch
