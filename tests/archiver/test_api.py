"""Requests to a real archiver on a real server: history, ids, counts and status equal the log."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import BaseModel

from shared import events as e
from shared.bus import Bus
from shared.events import encode
from shared.fingerprints import fingerprint
from shared.ids import ChannelKey, Seq, StreamSeq, UserId, new_command_id
from shared.message_records import MessagesPage, MessagesRequest
from shared.records import (
    ArchiveStatus,
    CountReply,
    CountRequest,
    Failure,
    HistoryPage,
    HistoryRequest,
    IdsReply,
    IdsRequest,
    KnownId,
)
from shared.settings import CommonSettings
from shared.subjects import archive_subject, partition_of
from tests.support.archive import (
    ALICE,
    WORKSPACE,
    Logged,
    archiver_settings,
    created,
    key_of,
    posted,
    read_logs,
    running,
    store,
)
from tests.support.events import NOW_MS
from tests.support.naive_messages import folded, random_events
from tests.support.waiting import eventually

M = TypeVar("M", bound=BaseModel)
GARBAGE = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b'{"kind":"message.posted"}',
    b"null",
    b'{"v":1,"kind":"no.such"}',
    b"[" * 5000,
]


async def ask(bus: Bus, key: ChannelKey, operation: str, request: BaseModel, answer: type[M]) -> M:
    """One request to the partition of a channel."""
    subject = archive_subject(partition_of(key, 2), operation)
    raw = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
    return answer.model_validate_json(raw)


async def page(bus: Bus, key: ChannelKey, applied: int = 0, **fields: object) -> HistoryPage:
    """One history page."""
    request = HistoryRequest.model_validate(
        {"workspace": key.workspace, "channel": key.channel, "applied": applied, **fields}
    )
    return await ask(bus, key, "history", request, HistoryPage)


async def ids(bus: Bus, key: ChannelKey, applied: int, pairs: list[tuple[str, str]]) -> list[KnownId | None]:
    """One lookup of ids."""
    return list((await ids_reply(bus, key, applied, pairs)).found)


async def ids_reply(bus: Bus, key: ChannelKey, applied: int, pairs: list[tuple[str, str]]) -> IdsReply:
    """The whole answer to one lookup of ids."""
    request = IdsRequest.model_validate(
        {"workspace": key.workspace, "channel": key.channel, "applied": applied, "ids": pairs}
    )
    return await ask(bus, key, "ids", request, IdsReply)


def check_page(found: HistoryPage, logged: Logged, key: ChannelKey, expected: list[int], more: bool) -> None:
    """The page holds exactly these seqs of the log, byte for byte."""
    assert [event.seq for event in found.events] == expected
    assert found.more == more
    for event in found.events:
        truth = logged.events[key][event.seq - 1]
        body = logged.bodies[key][event.seq - 1]
        assert (event.stream_seq, event.at_us, event.void) == (truth.stream_seq, truth.at_us, truth.void)
        assert e.decode(event.body.encode()) == truth.event
        assert truth.void == "unreadable" or event.body.encode() == body


async def fill(bus: Bus) -> StreamSeq:
    """Two channels with every sort of body; the last position of the first."""
    await store(bus, key_of("other"), [encode(created()), encode(posted("elsewhere"))])
    bodies = [encode(created())]
    for number in range(60):
        bodies.append(encode(posted(f"nul \x00 and ☕ {number}")))
        bodies.append(encode(posted("nobody knows me", author=UserId("mallory"))))
        bodies.append(GARBAGE[number % len(GARBAGE)])
        imported = {"by": "importer", "at": "2020-01-01T00:00:00Z"}
        bodies.append(encode(posted("long ago", author=UserId("Größe 🦊"), imported=imported, thread=2)))
        bodies.append(json.dumps({**json.loads(encode(posted("later field"))), "new": [1]}).encode())
    return await store(bus, key_of("tea"), bodies)


@pytest.mark.parametrize("flush_events", [7, 100, 100_000])
async def test_pages_equal_the_log(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, flush_events: int
) -> None:
    """For any before, after and limit a page is that slice of the log, wherever the events are."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=flush_events)
    key = key_of("tea")
    async with running(fresh_bus, settings):
        last = await fill(fresh_bus)
        logged = await read_logs(fresh_bus)
        head = len(logged.events[key])
        check_page(await page(fresh_bus, key, last), logged, key, list(range(head - 49, head + 1)), True)
        rng = random.Random(7)
        for _ in range(60):
            limit = rng.choice([1, 3, 50, 500, 5000])
            before = rng.choice([None, rng.randint(-1, head + 3)])
            after = rng.choice([None, rng.randint(-1, head + 3)])
            lowest, highest = max(1, (after or 0) + 1), min(head, head if before is None else before - 1)
            wanted = list(range(lowest, highest + 1))
            expected = wanted[-limit:] if after is None else wanted[:limit]
            found = await page(fresh_bus, key, last, before=before, after=after, limit=limit)
            check_page(found, logged, key, expected, len(wanted) > limit)
            middle = rng.randint(1, head)
            found = await page(fresh_bus, key, last, around=middle, limit=limit)
            first = max(1, min(middle - limit // 2, head - limit + 1))
            expected = list(range(first, min(head, first + limit - 1) + 1))
            check_page(found, logged, key, expected, len(expected) < head)


async def test_unknown_channels_are_empty(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """A channel that no event names has an empty page, no ids and no messages."""
    key = key_of("nothing")
    async with running(fresh_bus, archiver_settings(fresh_settings, tmp_path / "archive")):
        assert await page(fresh_bus, key) == HistoryPage(events=(), more=False)
        assert await ids(fresh_bus, key, 0, [("a", new_command_id(1))]) == [None]
        request = CountRequest(workspace=WORKSPACE, channel=key.channel, upto=Seq(9))
        assert (await ask(fresh_bus, key, "count", request, CountReply)).messages == 0


@pytest.mark.parametrize("flush_events", [7, 100_000])
async def test_ids_are_found_wherever_they_are(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, flush_events: int
) -> None:
    """Each recorded id answers with its own event, hot or archived; others answer None, in order."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=flush_events)
    key = key_of("tea")
    async with running(fresh_bus, settings):
        last = await fill(fresh_bus)
        logged = await read_logs(fresh_bus)
        known = [at for at in logged.events[key] if not isinstance(at.event, e.Unreadable)]
        pairs = [(at.event.author, at.event.id) for at in known]
        strangers = [(ALICE, new_command_id(NOW_MS)), (UserId("mallory"), known[0].event.id)]
        found = await ids(fresh_bus, key, last, [*pairs, *strangers])
        assert found[-2:] == [None, None]
        for at, answer in zip(known, found[:-2], strict=True):
            assert answer == KnownId(
                seq=at.seq,
                stream_seq=at.stream_seq,
                at_us=at.at_us,
                fingerprint=fingerprint(at.event),
                void=at.void,
            )
        assert await ids(fresh_bus, key_of("other"), 0, [pairs[1]]) == [None]
        assert (await ids_reply(fresh_bus, key, last, [])).greatest == max(id_ for _, id_ in pairs)
        assert (await ids_reply(fresh_bus, key_of("nowhere"), 0, [])).greatest == ""


async def test_the_first_event_of_an_id_counts(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """If a log holds one id twice, every lookup names the first, before and after archiving."""
    key = key_of("tea")
    twice = encode(posted("once"))
    for flush_events in (1, 2, 100_000):
        settings = archiver_settings(
            fresh_settings, tmp_path / f"archive{flush_events}", flush_events=flush_events
        )
        async with running(fresh_bus, settings):
            last = await store(fresh_bus, key, [encode(created()), twice, twice])
            event = e.decode(twice)
            found = await ids(fresh_bus, key, last, [(event.author, event.id)])
            assert [known and known.seq for known in found] == [2]


async def test_counts_equal_the_log(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """The count up to any seq is the number of messages there that are not void."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=120)
    key = key_of("tea")
    async with running(fresh_bus, settings):
        last = await fill(fresh_bus)
        logged = await read_logs(fresh_bus)
        await page(fresh_bus, key, last, limit=1)
        truth = [at.void is None and at.event.kind == "message.posted" for at in logged.events[key]]
        for upto in (-1, 0, 1, 2, 40, 119, 120, 121, 200, 250, 300, 301, 999):
            request = CountRequest(workspace=WORKSPACE, channel=key.channel, upto=Seq(upto))
            reply = await ask(fresh_bus, key, "count", request, CountReply)
            assert reply.messages == sum(truth[: max(0, upto)]), upto


async def test_requests_wait_for_their_position(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """A position beyond the log is answered unavailable, never with a wrong "absent"."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", applied_wait_s=0.2)
    key = key_of("tea")
    async with running(fresh_bus, settings):
        last = await store(fresh_bus, key, [encode(created())])
        request = HistoryRequest(workspace=WORKSPACE, channel=key.channel, applied=StreamSeq(last + 1))
        failure = await ask(fresh_bus, key, "history", request, Failure)
        assert failure.error == "unavailable"
        assert failure.retry_after_ms


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[]", b'{"workspace":"a","channel":"b","limit":0}'])
async def test_bad_requests_are_refused(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, body: bytes
) -> None:
    """What is no request is answered bad_request, and the archiver goes on."""
    async with running(fresh_bus, archiver_settings(fresh_settings, tmp_path / "archive")):
        raw = await fresh_bus.request(archive_subject(1, "history"), body, timeout_s=30)
        assert Failure.model_validate_json(raw).error == "bad_request"


async def test_pages_are_bounded_in_bytes(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Large bodies cut a page before NATS would refuse it; the pages together are the log."""
    key = key_of("tea")
    async with running(fresh_bus, archiver_settings(fresh_settings, tmp_path / "archive", flush_events=5)):
        texts = ["\x00" * 20_000, '"' * 60_000, "☕" * 20_000]
        last = await store(fresh_bus, key, [encode(created()), *(encode(posted(t)) for t in texts * 6)])
        seen: list[int] = []
        while True:
            found = await page(fresh_bus, key, last, after=seen[-1] if seen else 0, limit=100)
            seen += [event.seq for event in found.events]
            if not found.more:
                break
        assert seen == list(range(1, 20))
        newest = await page(fresh_bus, key, last, limit=100)
        assert newest.more
        assert newest.events[-1].seq == 19


async def test_status_says_what_is_in_parquet(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """The watermark follows the log; after a stop and a start nothing has changed."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=3)
    key = key_of("tea")

    async def status() -> ArchiveStatus:
        raw = await fresh_bus.request(archive_subject(partition_of(key, 2), "status"), b"", timeout_s=30)
        return ArchiveStatus.model_validate_json(raw)

    async with running(fresh_bus, settings):
        last = await store(fresh_bus, key, [encode(created()), *(encode(posted(str(n))) for n in range(5))])

        async def archived() -> bool:
            return (await status()).watermark == last

        await eventually(archived)
        before = await status()
        assert (before.applied, before.partition) == (last, partition_of(key, 2))
    async with running(fresh_bus, settings):
        after = await status()
        assert (after.watermark, after.segments) == (before.watermark, before.segments)
        assert after.manifest == before.manifest + 1


@pytest.mark.parametrize("flush_events", [7, 100_000])
async def test_messages_equal_a_fold_of_the_log(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, flush_events: int
) -> None:
    """As of the position that is named, while the archiver commits and merges as it goes."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=flush_events)
    key = key_of("tea")
    async with running(fresh_bus, settings):
        for seed in range(4):
            events = random_events(random.Random(seed), 60)
            last = await store(fresh_bus, key, map(encode, events))
            request = MessagesRequest(workspace=key.workspace, channel=key.channel, limit=200, applied=last)
            found = await ask(fresh_bus, key, "messages", request, MessagesPage)
            log = (await read_logs(fresh_bus)).events[key]
            assert found.upto == len(log)
            assert list(found.messages) == list(folded(log).values())[-200:]
