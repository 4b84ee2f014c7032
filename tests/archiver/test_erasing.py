"""What the log says is to be erased has no text left in any file of the archive; nothing else changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archiver import compactor, partition
from archiver.erasing import Emptied, emptied_segment
from shared import events as e
from shared.archive_files import pin, scan
from shared.archive_manifest import Segment
from shared.archive_rows import recorded_of
from shared.archive_store import Reached, Store
from shared.bus import Bus
from shared.erasure import Erasures
from shared.events import decode, encode
from shared.ids import ChannelKey, Seq, StreamSeq, UserId, new_command_id
from shared.records import HistoryEvent, HistoryPage, HistoryRequest, IdsReply, IdsRequest, KnownId
from shared.settings import CommonSettings
from shared.subjects import archive_subject, partition_of
from tests.support.archive import (
    NOW_MS,
    archiver_settings,
    committed,
    created,
    key_of,
    posted,
    read_logs,
    running,
    store,
)
from tests.support.traces import traces
from tests.support.waiting import eventually

TEA, GO = key_of("tea"), key_of("go")
ANN = UserId("ann")
SECRETS = ["Xsecret-one", "Xsecret-two", "Xsecret-three", "Xsecret-four"]


def edited(ref: int, text: str, author: UserId = ANN) -> e.MessageEdited:
    """A later text of a message."""
    return e.MessageEdited(**_who(author), ref=Seq(ref), ref_author=author, text=text)


def message_erased(ref: int) -> bytes:
    """An erasure of one message."""
    return encode(e.MessageErased(**_who(UserId("operator")), ref=Seq(ref)))


def user_erased(user: UserId) -> bytes:
    """An erasure of what somebody has said."""
    return encode(e.UserErased(**_who(UserId("operator")), user=user))


def _who(author: UserId) -> dict[str, Any]:
    return {"id": new_command_id(NOW_MS), "author": author}


async def carried_out(directory: Path, count: int) -> None:
    """Wait until so many erasures are done, and what they replaced is gone."""

    def done() -> bool:
        manifests = pin(directory).manifests
        return sum(one.erased > 0 for one in manifests) == count and not any(one.retired for one in manifests)

    await eventually(done, within_s=60)


async def page(bus: Bus, key: ChannelKey, applied: int = 0) -> list[HistoryEvent]:
    """The newest events of a channel, of a log up to there at least."""
    request = HistoryRequest(
        workspace=key.workspace, channel=key.channel, limit=500, applied=StreamSeq(applied)
    )
    subject = archive_subject(partition_of(key, 2), "history")
    reply = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
    return list(HistoryPage.model_validate_json(reply).events)


async def known_id(bus: Bus, key: ChannelKey, event: e.Event, applied: int) -> KnownId | None:
    """What the archive knows under the event's id."""
    request = IdsRequest(
        workspace=key.workspace,
        channel=key.channel,
        applied=StreamSeq(applied),
        ids=((event.author, event.id),),
    )
    subject = archive_subject(partition_of(key, 2), "ids")
    reply = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
    (known,) = IdsReply.model_validate_json(reply).found
    return known


@pytest.fixture
def settings_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the archive is; it is swept all the time."""
    monkeypatch.setattr(compactor, "SWEEP_EVERY_S", 0.05)
    return tmp_path / "archive"


async def filled(bus: Bus) -> None:
    """Two channels in which Ann, and others, have said something."""
    await store(bus, TEA, [encode(created(ANN))])
    await store(bus, GO, [encode(created(ANN))])
    await store(bus, TEA, [encode(posted(SECRETS[0], ANN)), encode(posted("kept", ANN))])
    await committed(bus)
    await store(bus, TEA, [encode(edited(2, SECRETS[1]))])
    await store(bus, GO, [encode(posted(SECRETS[2], ANN)), encode(posted("kept too"))])
    await committed(bus)


async def test_a_message_and_its_edits_lose_their_text(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path
) -> None:
    """In pages at once, in files soon; numbers, authors and everything else stay; the index of ids, too."""
    settings = archiver_settings(
        fresh_settings, settings_at, flush_interval_s=0.1, orphan_grace_s=900.0, erased_grace_s=0.0
    )
    async with running(fresh_bus, settings):
        await filled(fresh_bus)
        before = await page(fresh_bus, TEA)
        assert traces(settings_at, SECRETS[:3]) != []
        end = await store(fresh_bus, TEA, [message_erased(2)])
        after = await page(fresh_bus, TEA, end)
        await carried_out(settings_at, 1)
        assert traces(settings_at, SECRETS[:2]) == []
        assert traces(settings_at, [SECRETS[2]]) != []
        for shown in (after, await page(fresh_bus, TEA)):
            assert [(one.seq, one.stream_seq, one.at_us, one.void) for one in shown[:-1]] == [
                (one.seq, one.stream_seq, one.at_us, one.void) for one in before
            ]
            texts = [getattr(decode(one.body.encode()), "text", None) for one in shown]
            assert texts == [None, "", "kept", "", None]
        said = decode(before[1].body.encode())
        known = await known_id(fresh_bus, TEA, said, end)
        assert known is not None
        assert (known.seq, known.fingerprint) == (2, "")


async def test_a_user_loses_every_text(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path
) -> None:
    """In one channel all that they have said before; what others said, and what they say later, stays."""
    settings = archiver_settings(fresh_settings, settings_at, flush_interval_s=0.1, erased_grace_s=0.0)
    async with running(fresh_bus, settings):
        await filled(fresh_bus)
        for key in (TEA, GO):
            await store(fresh_bus, key, [user_erased(ANN), encode(posted("later", ANN))])
        await committed(fresh_bus)
        await carried_out(settings_at, len({partition_of(key, 2) for key in (TEA, GO)}))
        await eventually(lambda: traces(settings_at, [*SECRETS, '"kept"', "xsecret"]) == [], within_s=60)
    texts = [(row.channel, row.author, row.text) for row in scan(settings_at) if row.text]
    assert texts == [
        ("go", "alice", "kept too"),
        ("go", "ann", "later"),
        ("tea", "ann", "later"),
    ]


async def test_hot_texts_never_reach_a_file(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path
) -> None:
    """Said and erased before a flush: Parquet never had it."""
    settings = archiver_settings(fresh_settings, settings_at, flush_interval_s=600.0, erased_grace_s=0.0)
    async with running(fresh_bus, settings):
        end = await store(
            fresh_bus, TEA, [encode(created(ANN)), encode(posted(SECRETS[0], ANN)), message_erased(2)]
        )
        shown = await page(fresh_bus, TEA, end)
        assert [getattr(decode(one.body.encode()), "text", None) for one in shown] == [None, "", None]
    assert traces(settings_at, SECRETS) == []
    async with running(fresh_bus, settings):
        await carried_out(settings_at, 1)
    assert [row.seq for row in scan(settings_at)] == [1, 2, 3]


async def test_of_hot_texts_no_digest_is_kept(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path
) -> None:
    """The index of ids holds what a rebuild would find: where the command stands, not what it said."""
    settings = archiver_settings(fresh_settings, settings_at, flush_interval_s=600.0, erased_grace_s=0.0)
    said = posted(SECRETS[0], ANN)
    async with running(fresh_bus, settings):
        end = await store(fresh_bus, TEA, [encode(created(ANN)), encode(said), message_erased(2)])
        await page(fresh_bus, TEA, end)
    async with running(fresh_bus, settings):
        known = await known_id(fresh_bus, TEA, said, end)
    assert known is not None
    assert (known.seq, known.fingerprint) == (2, "")


async def test_the_cache_is_rebuilt_as_it_was(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path
) -> None:
    """Heads, counts and verdicts do not depend on texts; an erasure that is not done yet is done then."""
    settings = archiver_settings(fresh_settings, settings_at, flush_interval_s=0.1, erased_grace_s=0.0)
    async with running(fresh_bus, settings):
        await filled(fresh_bus)
        await store(fresh_bus, TEA, [message_erased(2)])
        await committed(fresh_bus)
        await carried_out(settings_at, 1)
        before = await page(fresh_bus, TEA)
    for path in (settings_at / "cache").iterdir():
        path.unlink()
    async with running(fresh_bus, settings):
        assert await page(fresh_bus, TEA) == before
    voids = {(row.channel, row.seq) for row in scan(settings_at) if recorded_of(row).void}
    assert voids == {("go", 3)}, "of somebody who is no member"


async def test_erasing_while_everything_goes_on(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path
) -> None:
    """People talk, runs are merged, pages are read: no number moves, and the texts go."""
    settings = archiver_settings(
        fresh_settings, settings_at, flush_events=10, flush_interval_s=0.1, erased_grace_s=0.0
    )
    over = asyncio.Event()

    async def talk() -> None:
        while not over.is_set():
            await store(fresh_bus, TEA, [encode(posted("noise"))] * 5)
            seqs = [one.seq for one in await page(fresh_bus, TEA)]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))

    async with running(fresh_bus, settings), asyncio.TaskGroup() as group:
        await filled(fresh_bus)
        talking = group.create_task(talk())
        for number in range(6):
            seq = 4 + 2 * number
            await store(fresh_bus, GO, [encode(posted(f"Xsecret-more-{number}", ANN)), message_erased(seq)])
            await store(fresh_bus, TEA, [encode(posted(f"Xsecret-more-{number}", ANN)), user_erased(ANN)])
        await committed(fresh_bus)
        await eventually(lambda: traces(settings_at, ["Xsecret-more", *SECRETS[:2]]) == [], within_s=60)
        over.set()
        await talking
        await committed(fresh_bus)
    logged = await read_logs(fresh_bus)
    assert len(list(scan(settings_at))) == logged.total


async def test_a_disk_that_refuses_is_asked_again(
    fresh_bus: Bus, fresh_settings: CommonSettings, settings_at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is done, the manifest says that it is not."""
    refusals = 2

    def refusing(files: Store, segment: Segment, erasures: Erasures, reached: Reached) -> Emptied | None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError("no space left")
        return emptied_segment(files, segment, erasures, reached)

    monkeypatch.setattr(partition, "emptied_segment", refusing)
    settings = archiver_settings(fresh_settings, settings_at, flush_interval_s=0.1, erased_grace_s=0.0)
    async with running(fresh_bus, settings):
        await filled(fresh_bus)
        await store(fresh_bus, TEA, [message_erased(2)])
        await carried_out(settings_at, 1)
    assert refusals == 0
    assert traces(settings_at, SECRETS[:2]) == []


def test_what_a_name_says(tmp_path: Path) -> None:
    """Files are found by their bytes, and Parquet by what it holds."""
    found: Mapping[str, bytes] = {"plain": b"..Xsecret-one..", "else": b"nothing"}
    for name, content in found.items():
        (tmp_path / name).write_bytes(content)
    assert traces(tmp_path, SECRETS) == ["plain: Xsecret-one"]
