"""Bucket values only move forward, whoever writes, whatever was remembered."""

from __future__ import annotations

import asyncio

import pytest

from sequencer import bucket as bucket_module
from sequencer.bucket import Bucket, Value
from shared.bus import Bus
from shared.channel import MEMBERS_BYTES_MAX, ChannelState
from shared.errors import LogRegressed, Unavailable
from shared.events import Role
from shared.ids import SEQ_MAX, Epoch, Partition, Seq, StreamSeq, UserId
from shared.records import Checkpoint, Position
from shared.subjects import bucket_stream, kv_subject
from tests.support.storing import put

NAME = "FORWARD"


def value(key: str, stream_seq: int, writer: str = "") -> Value:
    body = Position(stream_seq=StreamSeq(stream_seq), directory=writer).model_dump_json().encode()
    return Value(key, StreamSeq(stream_seq), body, Partition(0), Epoch("e1"))


async def confirmed(_: Value) -> None:
    """Every epoch goes on."""


async def opened(bus: Bus, name: str = NAME) -> Bucket:
    bucket = Bucket(bus, name, replicas=1, in_flight_max=16, confirm=confirmed)
    await bucket.refresh()
    return bucket


async def stored(bus: Bus, key: str, name: str = NAME) -> Position:
    found = await bus.last(bucket_stream(name), kv_subject(name, key))
    assert found is not None
    return Position.model_validate_json(found.body)


async def test_a_stale_writer_cannot_overwrite_a_newer_one(bus: Bus) -> None:
    """Neither one that read the key before, nor one that has never seen it."""
    slow, fast = await opened(bus), await opened(bus)
    assert await slow.write([value("stale", 5)]) == ["written"]
    assert await fast.write([value("stale", 9)]) == ["written"]
    assert await slow.write([value("stale", 7)]) == ["newer"]
    assert await (await opened(bus)).write([value("stale", 8)]) == ["newer"]
    assert (await stored(bus, "stale")).stream_seq == 9
    assert await slow.write([value("stale", 9)]) == ["present"]
    assert await slow.write([value("stale", 10)]) == ["written"]


async def test_a_value_of_another_epoch_is_neither_older_nor_newer(bus: Bus) -> None:
    """It is replaced whatever its position is, unless it is our own epoch that is over."""

    async def over(asked: Value) -> None:
        if asked.epoch == "e1":
            raise LogRegressed("over")

    def of(epoch: str, stream_seq: int) -> Value:
        one = value("epoch", stream_seq)
        body = Position(stream_seq=one.stream_seq, epoch=Epoch(epoch)).model_dump_json().encode()
        return Value(one.key, one.stream_seq, body, Partition(0), Epoch(epoch))

    asleep = Bucket(bus, NAME, replicas=1, in_flight_max=4, confirm=over)
    awake = Bucket(bus, NAME, replicas=1, in_flight_max=4, confirm=over)
    await asleep.refresh()
    await awake.refresh()
    assert await asleep.write([of("e1", 9)]) == ["written"]
    assert await awake.write([of("e2", 2)]) == ["written"]
    with pytest.raises(LogRegressed):
        await asleep.write([of("e1", 10)])
    assert (await stored(bus, "epoch")).epoch == "e2"
    assert await awake.write([of("e2", 3)]) == ["written"]


async def test_racing_writers_leave_the_newest(bus: Bus) -> None:
    """Many writers at once on few keys: each key ends at the highest position that anybody wrote."""
    buckets = [await opened(bus) for _ in range(4)]

    async def race(bucket: Bucket, offset: int) -> None:
        for step in range(25):
            await bucket.write([value(f"race{k}", 4 * step + offset + 1) for k in range(3)])

    await asyncio.gather(*(race(bucket, offset) for offset, bucket in enumerate(buckets)))
    assert [(await stored(bus, f"race{k}")).stream_seq for k in range(3)] == [100] * 3


async def test_outcomes_come_in_the_order_of_the_values(bus: Bus) -> None:
    """Also when there are more values than writes under way."""
    bucket = await opened(bus)
    await bucket.write([value(f"many{n}", 5) for n in range(0, 300, 2)])
    outcomes = await bucket.write([value(f"many{n}", 5) for n in range(300)])
    assert outcomes == ["present", "written"] * 150


async def test_unreadable_values_are_overwritten(bus: Bus) -> None:
    """What is no value of ours counts as older than everything."""
    bucket = await opened(bus)
    await put(bus, kv_subject(NAME, "garbage"), b"\x00")
    assert await bucket.write([value("garbage", 1)]) == ["written"]
    assert (await stored(bus, "garbage")).stream_seq == 1


async def test_forgotten_revisions_are_read_again(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of revisions is bounded; a key that fell out of it is still compared first."""
    monkeypatch.setattr(bucket_module, "KNOWN_MAX", 3)
    bucket = await opened(bus)
    await bucket.write([value(f"few{n}", 5) for n in range(10)])
    assert len(bucket._known) == 3
    assert await bucket.write([value(f"few{n}", 4 + n % 3) for n in range(10)]) == [
        ("newer", "present", "written")[n % 3] for n in range(10)
    ]


async def test_a_recreated_bucket_is_another_one(bus: Bus) -> None:
    """Revisions of the old bucket are not used on the new one: the write is refused until `refresh`."""
    name = "RECREATED"
    bucket = await opened(bus, name)
    before = bucket.incarnation
    await bucket.write([value("key", 5)])
    await bus.api(f"STREAM.DELETE.{bucket_stream(name)}", {})
    await opened(bus, name)
    with pytest.raises(Unavailable, match="recreated"):
        await bucket.write([value("key", 6)])
    assert await bucket.refresh() != before
    assert await bucket.write([value("key", 5)]) == ["written"]


async def test_a_missing_bucket_is_created(bus: Bus) -> None:
    """A write without a bucket fails; `refresh` makes one."""
    name = "MISSING"
    bucket = Bucket(bus, name, replicas=1, in_flight_max=4, confirm=confirmed)
    with pytest.raises(Unavailable):
        await bucket.write([value("key", 1)])
    await bucket.refresh()
    assert await bucket.write([value("key", 1)]) == ["written"]


async def test_read_all_gives_every_key(bus: Bus) -> None:
    """Every key once, in ascending revisions, also over several batches."""
    name = "WHOLE"
    bucket = await opened(bus, name)
    await bucket.write([value(f"k{n}", n + 1) for n in range(250)])
    found = [(key, item.stream_seq) async for key, item in bucket.read_all()]
    assert {key for key, _ in found} == {f"k{n}" for n in range(250)}
    assert [revision for _, revision in found] == sorted(revision for _, revision in found)


async def test_the_largest_checkpoint_is_one_message(bus: Bus) -> None:
    """A channel whose members take all that they may is stored and read back: its checkpoint never fails."""
    entry = len('"":"member",')
    names = (f"{number:05}".ljust(255, "x") for number in range(MEMBERS_BYTES_MAX // (255 + entry)))
    members: dict[UserId, Role] = dict.fromkeys(map(UserId, names), "member")
    state = ChannelState("public", "\x01" * 128, UserId("a"), topic="\x01" * 1024, members=members)
    checkpoint = Checkpoint(seq=Seq(SEQ_MAX), stream_seq=StreamSeq(SEQ_MAX), state=state)
    body = checkpoint.model_dump_json().encode()
    assert len(body) > MEMBERS_BYTES_MAX
    forward = await opened(bus)
    assert await forward.write([Value("largest", StreamSeq(1), body, Partition(0), Epoch("e1"))]) == [
        "written"
    ]
    found = await bus.last(bucket_stream(NAME), kv_subject(NAME, "largest"))
    assert found is not None
    assert Checkpoint.model_validate_json(found.body) == checkpoint


async def test_a_revision_of_a_bucket_that_is_gone_opens_nothing(bus: Bus) -> None:
    """Two sequencers, the bucket is deleted under them: the one behind cannot overwrite the other."""
    slow, fast = await opened(bus, "GONE"), await opened(bus, "GONE")
    assert await slow.write([value("key", 5)]) == ["written"]
    await bus.api(f"STREAM.DELETE.{bucket_stream('GONE')}", {})
    await fast.refresh()
    assert await fast.write([value("key", 9)]) == ["written"]
    assert await slow.write([value("key", 7)]) == ["newer"]
    assert (await stored(bus, "key", "GONE")).stream_seq == 9


async def test_an_empty_bucket_is_read_to_its_end(bus: Bus) -> None:
    """Its revisions have not begun, and do not begin with 1."""
    bucket = await opened(bus, "EMPTY")
    assert [key async for key, _ in bucket.read_all()] == []
