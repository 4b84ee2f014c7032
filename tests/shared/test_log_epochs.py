"""An epoch is what the sequencer's position says, as long as the log holds what was counted last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared import log_epochs
from shared.bus import Bus
from shared.errors import LogRegressed, Unavailable, WrongLastSequence
from shared.ids import Epoch, Partition, StreamSeq
from shared.log_epochs import (
    LogLook,
    begin_epoch,
    forget_checkpoints,
    holds,
    is_over,
    judge,
    label,
    likely_epoch,
    look,
    proven,
    saved_position,
)
from shared.records import Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, kv_subject, position_key
from tests.support.storing import put

P0 = Partition(0)
SUBJECT = kv_subject(CHECKPOINTS, position_key(P0))


@pytest.fixture
async def epoch(fresh_bus: Bus, fresh_settings: CommonSettings) -> Epoch:
    """Of a log that holds three messages."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    for number in range(3):
        await fresh_bus.commit("channel.0.w.c", b"%d" % number, msg_id=f"id-{number}")
    return layout.epochs[P0]


async def save(bus: Bus, stream_seq: int, at_us: int, epoch: str, msg_id: str = "") -> None:
    position = Position(stream_seq=StreamSeq(stream_seq), at_us=at_us, epoch=Epoch(epoch), msg_id=msg_id)
    await put(bus, SUBJECT, position.model_dump_json().encode())


async def time_of(bus: Bus, stream_seq: int) -> int:
    stored = await bus.stored_at_leader("LOG_0", StreamSeq(stream_seq))
    assert stored is not None
    return stored.at_us


async def test_the_log_that_was_counted_is_proven(fresh_bus: Bus, epoch: Epoch) -> None:
    """Before anything was saved, and with a position that the log holds."""
    assert (await proven(fresh_bus, P0)).epoch == epoch
    assert await likely_epoch(fresh_bus, P0) is None
    await save(fresh_bus, 2, await time_of(fresh_bus, 2), epoch, "id-1")
    assert (await proven(fresh_bus, P0)).epoch == epoch
    assert await likely_epoch(fresh_bus, P0) == epoch


@pytest.mark.parametrize(("stream_seq", "at_us", "msg_id"), [(4, 0, ""), (2, 1, ""), (2, 0, "id-0")])
async def test_a_log_that_lost_its_end_is_not(
    fresh_bus: Bus, epoch: Epoch, stream_seq: int, at_us: int, msg_id: str
) -> None:
    """It is too short, or it has grown again with other events."""
    await save(fresh_bus, stream_seq, at_us or await time_of(fresh_bus, 2), epoch, msg_id)
    with pytest.raises(LogRegressed, match=epoch):
        await proven(fresh_bus, P0)
    assert await likely_epoch(fresh_bus, P0) is None


async def test_the_label_of_an_old_copy_is_not_believed(fresh_bus: Bus, epoch: Epoch) -> None:
    """A copy brings its old epoch back; if nothing that was counted is lost, the position's goes on."""
    await save(fresh_bus, 2, await time_of(fresh_bus, 2), "newer")
    assert (await proven(fresh_bus, P0)).epoch == "newer" != epoch


async def test_a_witness_can_refute(fresh_bus: Bus, epoch: Epoch) -> None:
    """Who has counted further than was saved is asked as well, and again with every look."""
    asked: list[Epoch] = []

    async def witness(_: LogLook, named: Epoch) -> bool:
        asked.append(named)
        return len(asked) > 5

    assert not (await judge(fresh_bus, P0, witness)).is_held
    assert asked == [epoch] * log_epochs.LOOKS
    assert (await judge(fresh_bus, P0, witness)).is_held


async def test_a_leader_whom_nobody_follows_refutes_nothing(
    fresh_bus: Bus, epoch: Epoch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deposed leader answers with an old end for as long as it likes: that is no loss."""
    await save(fresh_bus, 9, 1, epoch)
    seen = 0

    async def alone(bus: Bus, partition: Partition) -> LogLook:
        nonlocal seen
        seen += 1
        return replace(await look(bus, partition), is_confirmed=False, copies=3)

    monkeypatch.setattr(log_epochs, "look", alone)
    monkeypatch.setattr(log_epochs, "LOOK_EVERY_S", 0.01)
    with pytest.raises(Unavailable, match="no leader"):
        await judge(fresh_bus, P0)
    assert seen == log_epochs.LOOKS_MAX


@pytest.mark.parametrize(
    ("active_s", "current", "offline", "follows"),
    [
        (0.3, True, False, True),
        (3.5, True, False, False),
        (0.3, False, False, False),
        (0.3, True, True, False),
    ],
)
def test_who_follows(active_s: float, current: bool, offline: bool, follows: bool) -> None:
    """A copy that was heard lately, and that has what the leader has."""
    replica = {"name": "n2", "active": int(active_s * 1e9), "current": current, "offline": offline}
    assert log_epochs._follows(replica) is follows


async def test_an_epoch_begins_once(fresh_bus: Bus, fresh_settings: CommonSettings, epoch: Epoch) -> None:
    """The second one who replaces the same epoch takes the first one's; old ones are remembered."""
    await save(fresh_bus, 9, 1, epoch)
    verdict = await judge(fresh_bus, P0)
    fresh = await begin_epoch(fresh_bus, verdict)
    assert await begin_epoch(fresh_bus, verdict) == fresh != epoch
    assert (await proven(fresh_bus, P0)).replaced == (epoch,)
    now = await proven(fresh_bus, P0)
    await label(fresh_bus, now.log, fresh, now.replaced)
    log = await look(fresh_bus, P0)
    assert (log.label, log.replaced, log.last) == (fresh, (epoch,), 3)
    assert (await ensure_streams(fresh_bus, fresh_settings)).epochs[P0] == fresh
    assert await is_over(fresh_bus, {P0: epoch, Partition(1): epoch}) == P0
    assert await is_over(fresh_bus, {P0: fresh, Partition(1): epoch}) is None


async def test_old_checkpoints_go_and_new_ones_stay(fresh_bus: Bus, epoch: Epoch) -> None:
    """Who is late with a verdict, or with the rest of a beginning, takes nothing of the new epoch along."""

    async def saved() -> set[str]:
        found = fresh_bus.scan(f"KV_{CHECKPOINTS}", kv_subject(CHECKPOINTS, "*.*.*"))
        return {stored.subject.rpartition(".")[2] async for batch in found for stored in batch}

    for name in ("0.w.old", "1.w.other"):
        await put(fresh_bus, kv_subject(CHECKPOINTS, name), b"{}")
    await save(fresh_bus, 9, 1, epoch)
    verdict = await judge(fresh_bus, P0)
    fresh = await begin_epoch(fresh_bus, verdict)
    await put(fresh_bus, kv_subject(CHECKPOINTS, "0.w.new"), b"{}")
    await forget_checkpoints(fresh_bus, P0, fresh)
    assert await saved() == {"other", "new"}
    await save(fresh_bus, 2, await time_of(fresh_bus, 2), fresh)
    assert await begin_epoch(fresh_bus, verdict) == fresh
    await forget_checkpoints(fresh_bus, P0, fresh)
    assert await saved() == {"other", "new"}


async def test_no_epoch_begins_where_the_beginning_is_gone(fresh_bus: Bus, epoch: Epoch) -> None:
    """A trimmed log cannot be counted again: nothing is touched."""
    await save(fresh_bus, 9, 1, epoch)
    await fresh_bus.api("STREAM.PURGE.LOG_0", {"seq": 3})
    before = await saved_position(fresh_bus, P0)
    with pytest.raises(LogRegressed, match="begins at 3"):
        await begin_epoch(fresh_bus, await judge(fresh_bus, P0))
    assert await saved_position(fresh_bus, P0) == before


async def test_no_epoch_begins_behind_the_back_of_who_counts(fresh_bus: Bus, epoch: Epoch) -> None:
    """A position that moved since the verdict refutes the verdict, not the position."""
    await save(fresh_bus, 9, 1, epoch)
    verdict = await judge(fresh_bus, P0)
    await save(fresh_bus, 3, await time_of(fresh_bus, 3), epoch)
    with pytest.raises(WrongLastSequence):
        await begin_epoch(fresh_bus, verdict)
    assert (await proven(fresh_bus, P0)).epoch == epoch


async def test_what_cannot_be_read_proves_nothing(fresh_bus: Bus, epoch: Epoch) -> None:
    """A position that is no position, or no bucket at all: the label is all that there is."""
    await put(fresh_bus, SUBJECT, b"?")
    saved = await saved_position(fresh_bus, P0)
    assert (saved.position, saved.revision > 0) == (None, True)
    assert (await proven(fresh_bus, P0)).epoch == epoch
    await fresh_bus.api(f"STREAM.DELETE.KV_{CHECKPOINTS}", {})
    assert await saved_position(fresh_bus, P0) == log_epochs.Saved(None, StreamSeq(0))
    assert (await proven(fresh_bus, P0)).epoch == epoch


async def test_what_was_trimmed_is_no_loss(fresh_bus: Bus, epoch: Epoch) -> None:
    """A position below the log's beginning says nothing against it."""
    await fresh_bus.api("STREAM.PURGE.LOG_0", {"seq": 3})
    log = await look(fresh_bus, P0)
    assert await holds(fresh_bus, log, Position(stream_seq=StreamSeq(1), at_us=5))
    assert epoch == log.label
