"""Who may read what: by the membership of now, wherever the events that say it lie by now."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared import events as e
from shared.bus import Bus
from shared.channel import ChannelState, fold, readable_by
from shared.events import KnownEvent, encode
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, UserId, WorkspaceId, new_command_id
from shared.records import Failure, ReadableReply, ReadableRequest
from shared.settings import CommonSettings
from shared.subjects import archive_subject
from tests.support.archive import ALICE, archiver_settings, posted, running, status, store
from tests.support.events import NOW_MS, example, made
from tests.support.waiting import eventually

Keys = Callable[[str], ChannelKey]
BOB, CAROL = UserId("bob"), UserId("carol")


@pytest.fixture
def key_of() -> Keys:
    """Names of channels in a workspace of its own: the server is that of all tests."""
    workspace = WorkspaceId(f"w{secrets.token_hex(4)}")
    return lambda channel: ChannelKey(workspace, ChannelId(channel))


def creation(kind: str, *members: UserId) -> e.ChannelCreated:
    """The first event of a channel of Alice's."""
    fields = {"channel_kind": kind, "name": "n", "members": members}
    return made(e.ChannelCreated, {"id": new_command_id(NOW_MS), "author": ALICE, **fields})


async def say(bus: Bus, key: ChannelKey, *events: KnownEvent) -> None:
    """Put events into a channel's log; they are acknowledged when this returns."""
    await store(bus, key, [encode(event) for event in events])


async def readable(bus: Bus, user: UserId, workspace: WorkspaceId) -> set[str]:
    """What every partition says together."""
    found: set[str] = set()
    request = ReadableRequest(workspace=workspace, user=user)
    for partition in range(2):
        subject = archive_subject(Partition(partition), "readable")
        raw = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
        found.update(ReadableReply.model_validate_json(raw).channels)
    return found


@pytest.mark.parametrize("heat", ["hot", "cold"])
async def test_what_may_be_read_follows_the_membership_of_now(
    bus: Bus, settings: CommonSettings, tmp_path: Path, key_of: Keys, heat: str
) -> None:
    """Every answer covers what was acknowledged before it, in memory and when each event is in Parquet."""
    flush = {"flush_events": 1_000, "flush_interval_s": 3600.0} if heat == "hot" else {"flush_events": 1}
    workspace = key_of("tea").workspace
    other = WorkspaceId(f"{workspace}-other")
    private, direct = key_of("p_private"), key_of("d_direct")
    elsewhere = ChannelKey(other, ChannelId("tea"))
    async with running(bus, archiver_settings(settings, tmp_path / "archive", **flush)):
        assert await readable(bus, BOB, workspace) == set()
        await say(bus, key_of("tea"), creation("public"))
        await say(bus, private, creation("private"))
        await say(bus, direct, creation("direct", ALICE, CAROL))
        await say(bus, elsewhere, creation("private", BOB))
        assert await readable(bus, BOB, workspace) == {"tea"}
        assert await readable(bus, CAROL, workspace) == {"tea", "d_direct"}
        assert await readable(bus, ALICE, workspace) == {"tea", "d_direct", "p_private"}
        assert await readable(bus, BOB, other) == {"tea"}
        for _ in range(5):
            await say(bus, private, example(e.MemberInvited, user=BOB))
            assert await readable(bus, BOB, workspace) == {"tea", "p_private"}
            await say(bus, private, example(e.MemberRemoved, user=BOB))
            assert await readable(bus, BOB, workspace) == {"tea"}
        await say(bus, private, example(e.MemberInvited, author="bob", user=CAROL))
        assert await readable(bus, CAROL, workspace) == {"tea", "d_direct"}, "who is no member invites nobody"
        await say(bus, private, example(e.MemberInvited, user=BOB), example(e.MemberLeft, author="bob"))
        assert await readable(bus, BOB, workspace) == {"tea"}


@pytest.mark.parametrize("cache", ["kept", "rebuilt"])
async def test_what_may_be_read_survives(
    bus: Bus, settings: CommonSettings, tmp_path: Path, key_of: Keys, cache: str
) -> None:
    """After a restart, and after the derived cache was deleted, everybody may read the same as before."""
    private = key_of("p_private")
    workspace = private.workspace
    wanted = archiver_settings(settings, tmp_path / "archive", flush_events=3)
    async with running(bus, wanted):
        await say(bus, key_of("tea"), creation("public"))
        await say(bus, private, creation("private", BOB, CAROL), posted("hi"))
        await say(bus, private, example(e.MemberRemoved, user=BOB))
        before = [await readable(bus, user, workspace) for user in (ALICE, BOB, CAROL)]
    assert before == [{"tea", "p_private"}, {"tea"}, {"tea", "p_private"}]
    if cache == "rebuilt":
        for path in (tmp_path / "archive" / "cache").iterdir():
            path.unlink()
    async with running(bus, wanted):
        assert [await readable(bus, user, workspace) for user in (ALICE, BOB, CAROL)] == before
        await say(bus, private, example(e.MemberRemoved, user=CAROL))
        assert await readable(bus, CAROL, workspace) == {"tea"}


async def test_a_random_log_gives_what_the_fold_gives(
    bus: Bus, settings: CommonSettings, tmp_path: Path, key_of: Keys
) -> None:
    """Whatever is said, and whatever of it is void, with commits at any time: the answer is the fold's."""
    workspace = key_of("tea").workspace
    chance = random.Random(7)
    users = [UserId(f"u{number}") for number in range(4)]
    states: dict[ChannelKey, ChannelState | None] = {}
    kinds = (e.MemberJoined, e.MemberLeft, e.MemberInvited, e.MemberRemoved, e.MemberRoleChanged)
    async with running(bus, archiver_settings(settings, tmp_path / "archive", flush_events=4)):
        for _ in range(120):
            key = key_of(f"c{chance.randrange(5)}")
            author, other = chance.choice(users), chance.choice(users)
            if states.get(key) is None:
                kind = chance.choice(["public", "private", "direct"])
                event: KnownEvent = replace(creation(kind, *users[:2]), author=author)
            else:
                event = example(chance.choice(kinds), author=author, **_fields(other))
            states[key] = fold(states.get(key), event)[0]
            await say(bus, key, event)
        for user in users:
            assert await readable(bus, user, workspace) == _readable_by_fold(states, user)
        await eventually(lambda: _is_cold(bus))
        for user in users:
            assert await readable(bus, user, workspace) == _readable_by_fold(states, user)


def _fields(other: UserId) -> Mapping[str, object]:
    return {"user": other}


def _readable_by_fold(states: Mapping[ChannelKey, ChannelState | None], user: UserId) -> set[str]:
    return {key.channel for key, state in states.items() if readable_by(state, user)}


async def _is_cold(bus: Bus) -> bool:
    found = [await status(bus, partition) for partition in range(2)]
    return all(one is not None and one.watermark == one.applied for one in found)


async def test_pages_of_readable_channels(
    bus: Bus, settings: CommonSettings, tmp_path: Path, key_of: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More channels than one answer holds come in several, each once."""
    monkeypatch.setattr("archiver.api.READABLE_MAX", 2)
    async with running(bus, archiver_settings(settings, tmp_path / "archive")):
        for number in range(9):
            await say(bus, key_of(f"c{number}"), creation("public"))
        found: list[str] = []
        for partition in range(2):
            after: ChannelId | None = None
            more = True
            while more:
                request = ReadableRequest(workspace=key_of("tea").workspace, user=BOB, after=after)
                subject = archive_subject(Partition(partition), "readable")
                raw = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
                reply = ReadableReply.model_validate_json(raw)
                assert len(reply.channels) <= 2
                found += reply.channels
                after, more = (reply.channels or (None,))[-1], reply.more
        assert sorted(found) == [f"c{number}" for number in range(9)]


async def test_another_epoch_is_not_answered(
    bus: Bus, settings: CommonSettings, tmp_path: Path, key_of: Keys
) -> None:
    """An archive knows the members of its own log, and of no other."""
    async with running(bus, archiver_settings(settings, tmp_path / "archive")):
        request = ReadableRequest(workspace=key_of("tea").workspace, user=BOB, epoch=Epoch("another"))
        subject = archive_subject(Partition(0), "readable")
        raw = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
        assert Failure.model_validate_json(raw).error == "unavailable"
