"""The directory against a real NATS: written, told, and never behind a checkpoint."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

import pytest
from pydantic import ValidationError

from sequencer.bucket import Bucket
from sequencer.core.belongings import Entry
from sequencer.directory import Directory
from sequencer.restored import confirm
from sequencer.settings import SequencerSettings
from shared import events as e
from shared.bus import Bus, Message
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId
from shared.records import Belonging, PublicChannel
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import (
    DIRECTORY,
    bucket_stream,
    directory_key,
    kv_subject,
    public_directory_key,
    user_subject,
)
from tests.support.logs import USERS, command
from tests.support.sequencing import quick, record, saved, sequencing
from tests.support.waiting import eventually

ANN, BO, CY = USERS


async def belonging(bus: Bus, key: ChannelKey, user: UserId) -> Belonging | None:
    subject = kv_subject(DIRECTORY, directory_key(key.workspace, user, key.channel))
    found = await bus.last(bucket_stream(DIRECTORY), subject)
    return Belonging.model_validate_json(found.body) if found else None


async def listed(bus: Bus, key: ChannelKey) -> PublicChannel | None:
    subject = kv_subject(DIRECTORY, public_directory_key(key.workspace, key.channel))
    found = await bus.last(bucket_stream(DIRECTORY), subject)
    return PublicChannel.model_validate_json(found.body) if found else None


async def is_member(bus: Bus, key: ChannelKey, user: UserId) -> bool:
    """Of whatever event: the first round of checkpoints may have listed the channel as it is by then."""
    found = await belonging(bus, key, user)
    return found is not None and found.member


async def is_listed(bus: Bus, key: ChannelKey, *, members: int) -> bool:
    found = await listed(bus, key)
    return found is not None and found.members == members


async def create(bus: Bus, name: str, kind: e.ChannelKind = "public") -> ChannelKey:
    key = ChannelKey(WorkspaceId("w"), ChannelId(name))
    await record(bus, key, e.ChannelCreated(id=command(1), author=ANN, channel_kind=kind, name=name))
    return key


async def test_join_leave_and_kick_reach_the_directory(bus: Bus, settings: CommonSettings) -> None:
    """Each changes the user's belonging to what the event says, and the member count of the public entry."""
    await ensure_streams(bus, settings)
    async with sequencing(settings):
        key = await create(bus, "dir-members")
        await record(bus, key, e.MemberJoined(id=command(2), author=BO))
        await record(bus, key, e.MemberInvited(id=command(3), author=ANN, user=CY))
        await eventually(lambda: is_at(bus, key, CY, member=True, seq=3))
        await eventually(lambda: is_listed(bus, key, members=3))
        await record(bus, key, e.MemberLeft(id=command(4), author=BO))
        await record(bus, key, e.MemberRemoved(id=command(5), author=ANN, user=CY))
        await eventually(lambda: is_at(bus, key, CY, member=False, seq=5))
        await eventually(lambda: is_at(bus, key, BO, member=False, seq=4))
        await eventually(lambda: is_member(bus, key, ANN))
        await eventually(lambda: is_listed(bus, key, members=1))


async def test_void_events_do_not_reach_the_directory(bus: Bus, settings: CommonSettings) -> None:
    """A kick by a stranger and an uninvited join to a private channel leave no trace."""
    await ensure_streams(bus, settings)
    async with sequencing(settings):
        key = await create(bus, "dir-void", "private")
        await record(bus, key, e.MemberJoined(id=command(2), author=BO))
        await record(bus, key, e.MemberRemoved(id=command(3), author=CY, user=ANN))
        await record(bus, key, e.MemberInvited(id=command(4), author=ANN, user=CY))
        await eventually(lambda: is_at(bus, key, CY, member=True, seq=4))
        assert await belonging(bus, key, BO) is None
        await eventually(lambda: is_member(bus, key, ANN))
        assert await listed(bus, key) is None


async def test_the_user_is_told_after_the_write(bus: Bus, settings: CommonSettings) -> None:
    """The membership subject carries the belonging that is stored, in order, to this user alone."""
    await ensure_streams(bus, settings)
    told: deque[Belonging] = deque(maxlen=100)

    def receive(message: Message) -> None:
        told.append(Belonging.model_validate_json(message.body))

    subscription = await bus.subscribe(user_subject(WorkspaceId("w"), BO, "membership"), receive)
    async with sequencing(settings):
        key = await create(bus, "dir-told")
        await record(bus, key, e.MemberJoined(id=command(2), author=BO))
        await eventually(lambda: [b.member for b in told if b.channel == key.channel] == [True])
        assert await belonging(bus, key, BO) == told[-1]
        await record(bus, key, e.MemberRemoved(id=command(3), author=ANN, user=BO))
        await eventually(lambda: [b.member for b in told if b.channel == key.channel] == [True, False])
    await subscription.unsubscribe()


async def test_checkpoints_wait_for_the_directory(bus: Bus, settings: CommonSettings) -> None:
    """A crash between fold and directory write loses no belonging: no checkpoint covers the event yet."""
    await ensure_streams(bus, settings)
    slow = quick(settings).model_copy(update={"directory_linger_s": 3600.0})  # longer than is allowed
    async with sequencing(slow, abrupt=True) as sequencer:
        key = await create(bus, "dir-crash")
        await eventually(lambda: sum(len(ledger) for ledger in sequencer.ledgers) > 0)
        await eventually(lambda: folded(sequencer.ledgers, key))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * slow.checkpoint_interval_s):  # a round would take no time at all
                await sequencer._checkpoints.save(sequencer.ledgers)
        assert key not in await saved(bus)
        assert await belonging(bus, key, ANN) is None
    async with sequencing(settings):
        await eventually(lambda: is_member(bus, key, ANN))


async def test_an_older_entry_replaces_no_newer_one(bus: Bus, settings: CommonSettings) -> None:
    """A rebuild reads while the log goes on: what it finds may be older than what waits to be written."""
    await ensure_streams(bus, settings)
    bucket = Bucket(bus, DIRECTORY, replicas=1, in_flight_max=4, confirm=partial(confirm, bus))
    await bucket.refresh()
    directory = Directory(bus, bucket, partitions=settings.partitions, linger_s=0.0, pending_max=10)
    key = ChannelKey(WorkspaceId("w"), ChannelId("dir-older"))
    for at, member in ((9, True), (5, False)):
        record = Belonging(
            channel=key.channel, member=member, kind="public", seq=Seq(at), stream_seq=StreamSeq(at)
        )
        directory.add([Entry(key, BO, record)])
    writing = asyncio.create_task(directory.run())
    await directory.settled()
    writing.cancel()
    found = await belonging(bus, key, BO)
    assert found is not None
    assert (found.member, found.stream_seq) == (True, 9)


async def test_a_full_directory_pauses_the_logs(bus: Bus, settings: CommonSettings) -> None:
    """More pending entries than allowed hold the follower back, and everything arrives all the same."""
    await ensure_streams(bus, settings)
    tight = SequencerSettings(**(quick(settings).model_dump() | {"directory_pending_max": 1}))
    async with sequencing(tight):
        keys = [await create(bus, f"dir-full-{n}") for n in range(20)]
        for key in keys:
            await eventually(lambda key=key: is_at(bus, key, ANN, member=True, seq=1))


async def is_at(bus: Bus, key: ChannelKey, user: UserId, *, member: bool, seq: int) -> bool:
    try:
        found = await belonging(bus, key, user)
    except ValidationError:
        return False
    return found is not None and (found.member, found.seq) == (member, seq)


def folded(ledgers: object, key: ChannelKey) -> bool:
    assert isinstance(ledgers, list)
    return any(key == other for ledger in ledgers for other, _ in ledger.checkpoints())
