"""Logs that were trimmed at their front: nothing is skipped silently, and writing goes on."""

from __future__ import annotations

import pytest

from edge.trimmed import Log, has_left_log, on_head, read_behind, trimmed_upto
from shared import stream_reads
from shared.bus import Bus, PubAck
from shared.channel import ChannelState, fold
from shared.errors import LogRegressed, OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.events import encode
from shared.ids import Epoch, Seq, StreamSeq
from shared.records import Checkpoint, Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import (
    CHECKPOINTS,
    channel_subject,
    checkpoint_key,
    kv_subject,
    log_stream,
    partition_of,
    position_key,
)
from tests.support.archive import created, key_of, posted, store
from tests.support.nats import NatsServer

KEY = key_of("tea")
PARTITION = partition_of(KEY, 2)
LOG = Log(KEY, PARTITION, Epoch("e1"))
NOWHERE = StreamSeq(0)


async def _logged(bus: Bus, settings: CommonSettings, messages: int) -> list[StreamSeq]:
    """A channel of its creation and so many messages; their positions in the log."""
    await ensure_streams(bus, settings)
    return [
        await store(bus, KEY, [encode(event)])
        for event in (created(), *(posted(str(number)) for number in range(messages)))
    ]


async def _checkpoint(bus: Bus, seq: int, stream_seq: StreamSeq) -> None:
    """What the sequencer would have written."""
    state, _ = fold(None, created())
    assert isinstance(state, ChannelState)
    checkpoint = Checkpoint(seq=Seq(seq), stream_seq=stream_seq, state=state)
    subject = kv_subject(CHECKPOINTS, checkpoint_key(PARTITION, KEY))
    await bus.commit(subject, checkpoint.model_dump_json().encode(), msg_id=f"{seq}")


async def _trim(bus: Bus, first: StreamSeq) -> None:
    await bus.api(f"STREAM.PURGE.{log_stream(PARTITION)}", {"seq": first})


async def _found(bus: Bus, mine: StreamSeq) -> Checkpoint | None:
    subject = channel_subject(PARTITION, KEY)
    found = await bus.direct_batch(log_stream(PARTITION), subject, start=mine)
    return await trimmed_upto(bus, LOG, mine, found)


async def test_a_whole_log_needs_no_checkpoint(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """As long as the log begins at 1, or holds our own position, nothing behind it can be missing."""
    at = await _logged(fresh_bus, fresh_settings, 3)
    assert await _found(fresh_bus, NOWHERE) is None
    await _trim(fresh_bus, at[1])
    assert await _found(fresh_bus, at[1]) is None
    assert await _found(fresh_bus, at[0]) is None


async def test_what_was_trimmed_is_in_the_newest_checkpoint(
    fresh_bus: Bus, fresh_settings: CommonSettings
) -> None:
    """A position that is gone is held against the checkpoint that the leader has."""
    at = await _logged(fresh_bus, fresh_settings, 3)
    await _checkpoint(fresh_bus, 3, at[2])
    await _trim(fresh_bus, at[3])
    newest = await _found(fresh_bus, at[0])
    assert newest is not None
    assert (newest.seq, newest.stream_seq) == (3, at[2])


async def test_a_missing_checkpoint_is_no_proof_by_itself(
    fresh_bus: Bus, fresh_settings: CommonSettings
) -> None:
    """Until the position says that all of them are there, it may be one that was lost: nobody counts on."""
    at = await _logged(fresh_bus, fresh_settings, 3)
    await _trim(fresh_bus, at[3])
    subject = kv_subject(CHECKPOINTS, position_key(PARTITION))
    for saved in (None, at[1]):
        if saved is not None:
            await fresh_bus.commit(subject, Position(stream_seq=saved).model_dump_json().encode(), msg_id="1")
        with pytest.raises(Unavailable):
            await _found(fresh_bus, NOWHERE)
    await fresh_bus.commit(subject, Position(stream_seq=at[2]).model_dump_json().encode(), msg_id="2")
    assert await _found(fresh_bus, NOWHERE) is None


async def test_reading_on_behind_the_front(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """A feed that had all that was trimmed reads on; the newest checkpoint may be ahead of what it wants."""
    at = await _logged(fresh_bus, fresh_settings, 3)
    await _checkpoint(fresh_bus, 4, at[3])
    await _trim(fresh_bus, at[2])
    behind = await read_behind(fresh_bus, LOG, at[1], Seq(2), at[2])
    assert [stored.stream_seq for stored in behind] in ([at[2]], at[2:])
    await _trim(fresh_bus, at[3])
    behind = await read_behind(fresh_bus, LOG, at[2], Seq(3), at[3])
    assert [stored.stream_seq for stored in behind] == [at[3]]


@pytest.mark.parametrize("wanted", [2, 3])
async def test_a_feed_that_missed_what_was_trimmed(
    fresh_bus: Bus, fresh_settings: CommonSettings, wanted: int
) -> None:
    """It must not count on, whether what it wants is there or is gone itself."""
    at = await _logged(fresh_bus, fresh_settings, 3)
    await _checkpoint(fresh_bus, 3, at[2])
    await _trim(fresh_bus, at[3])
    with pytest.raises(LogRegressed):
        await read_behind(fresh_bus, LOG, at[0], Seq(1), at[wanted])


async def test_writing_on_a_head_that_was_trimmed(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """The condition still holds: a first one is taken, a second one on the same head is not."""
    at = await _logged(fresh_bus, fresh_settings, 1)
    await _trim(fresh_bus, StreamSeq(at[1] + 1))
    assert await has_left_log(fresh_bus, PARTITION, at[1])

    async def commit(expect_last: StreamSeq) -> PubAck:
        body = encode(posted("on"))
        return await fresh_bus.commit(channel_subject(PARTITION, KEY), body, expect_last=expect_last)

    ack = await on_head(fresh_bus, PARTITION, at[1], commit)
    assert ack.stream_seq > at[1]
    with pytest.raises(WrongLastSequence):
        await on_head(fresh_bus, PARTITION, at[1], commit)


@pytest.mark.parametrize(("retried", "told"), [(True, OutcomeUnknown), (False, Unavailable)])
async def test_a_first_try_is_not_denied(
    fresh_bus: Bus,
    fresh_nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
    retried: bool,
    told: type[ParleyError],
) -> None:
    """The head has moved, perhaps by this command, and nobody can say: then it is not called unrecorded."""
    monkeypatch.setattr(stream_reads, "API_DEADLINE_S", 0.2)

    async def commit(_: StreamSeq) -> PubAck:
        raise WrongLastSequence("moved", retried=retried)

    fresh_nats_server.kill()
    with pytest.raises(told):
        await on_head(fresh_bus, PARTITION, StreamSeq(7), commit)
