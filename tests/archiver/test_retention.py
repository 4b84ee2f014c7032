"""Messages expire when their channel's time is over: said once, carried out everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver import metrics, retention
from archiver.app import Archiver
from archiver.duck import Duck
from archiver.history import History
from archiver.read_index import ReadIndex
from archiver.retention import AUTHOR, Retention
from archiver.segment_reader import Known
from archiver.threads import Threads
from shared.archive_files import scan
from shared.bus import Bus
from shared.clock import now_us, parse_rfc3339, rfc3339
from shared.events import encode
from shared.retention import DAY_US
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import partition_of
from tests.support.archive import (
    archiver_settings,
    created,
    failing_at,
    key_of,
    posted,
    running,
    store,
)
from tests.support.expiring import (
    TEA,
    edited,
    expire_to,
    imported,
    kept,
    messages,
    no_text_in,
    said,
    say,
    spans,
    texts,
)
from tests.support.killing import archivers
from tests.support.nats import NatsServer

GO = key_of("go")
EVERY_S = 0.1


class Clock:
    """Now, and days later when a test says so."""

    def __init__(self) -> None:
        self.days = 0

    def __call__(self) -> int:
        return now_us() + self.days * DAY_US


@pytest.fixture
def clock() -> Clock:
    """Shows today."""
    return Clock()


@pytest.fixture(params=["directory", pytest.param("bucket", marks=pytest.mark.faults)])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory, or a bucket of a real server."""
    if request.param == "directory":
        return str(tmp_path / "archive")
    monkeypatch.setenv("PARLEY_ARCHIVE_CACHE", str(tmp_path / "cache"))
    address: str = request.getfixturevalue("bucket")
    return address


async def test_messages_expire_with_the_days(
    fresh_bus: Bus, fresh_settings: CommonSettings, archive: str, clock: Clock
) -> None:
    """Not before their time; then all of it, edits too, in every file; what is said later stays."""
    settings = archiver_settings(
        fresh_settings, archive, retention_every_s=EVERY_S, flush_interval_s=0.2, erased_grace_s=0.0
    )
    async with running(fresh_bus, settings, clock=clock):
        await say(fresh_bus, created(), kept(2), posted("one"), posted("two"), edited(3, "one again"))
        await say(fresh_bus, created(), posted("for ever"), key=GO)
        clock.days = 1
        await say(fresh_bus, posted("three"))
        assert await texts(fresh_bus) == ["one again", "two", "three"]
        assert await spans(fresh_bus) == []
        clock.days = 3
        await expire_to(fresh_bus, 7)
        assert await texts(fresh_bus) == [None, None, None]
        assert all(message.erased for message in await messages(fresh_bus))
        await no_text_in(archive, "one", "two", "three", "one again")
        await say(fresh_bus, posted("four"))
        clock.days = 9
        await expire_to(fresh_bus, 9)
        clock.days = 20  # nothing was said meanwhile
        await say(fresh_bus, posted("later still"), key=GO)
        assert await spans(fresh_bus) == [(1, 7), (7, 9)]
        assert await spans(fresh_bus, GO) == []
        (first, _), _ = await said(fresh_bus)
        assert first.author == AUTHOR
        assert now_us() < parse_rfc3339(first.older_than) <= now_us() + DAY_US
    assert [row.text for row in scan(archive, channel=GO.channel) if row.text] == ["for ever", "later still"]


async def test_what_was_imported_is_as_old_as_it_really_is(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, clock: Clock
) -> None:
    """It goes at once, but for what stands behind a younger message: that goes with it."""
    settings = archiver_settings(
        fresh_settings, tmp_path / "archive", retention_every_s=EVERY_S, flush_interval_s=0.2
    )
    old = rfc3339(now_us() - 40 * DAY_US)
    young = rfc3339(now_us() - 2 * DAY_US)
    async with running(fresh_bus, settings, clock=clock):
        await say(fresh_bus, created(), imported("a", old), imported("b", young), imported("c", old))
        await say(fresh_bus, kept(30))
        await expire_to(fresh_bus, 3)
        assert await texts(fresh_bus) == [None, "b", "c"]
        clock.days = 29
        await expire_to(fresh_bus, 5)
        assert await texts(fresh_bus) == [None, None, None]


async def test_retention_is_lowered_and_lifted(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, clock: Clock
) -> None:
    """Lowered it counts from the next look on; lifted, what is gone stays gone and nothing more goes."""
    settings = archiver_settings(
        fresh_settings, tmp_path / "archive", retention_every_s=EVERY_S, flush_interval_s=0.2
    )
    async with running(fresh_bus, settings, clock=clock):
        await say(fresh_bus, created(), kept(100), posted("one"))
        clock.days = 9
        await say(fresh_bus, posted("two"))
        await say(fresh_bus, kept(5))
        await expire_to(fresh_bus, 5)
        await say(fresh_bus, kept(None), posted("three"), kept(36_500))
        clock.days = 1000
        await say(fresh_bus, created(), posted("x"), kept(1), key=GO)
        await expire_to(fresh_bus, 3, GO)  # so it was looked at with this clock
        assert await spans(fresh_bus) == [(1, 5)]
        assert await texts(fresh_bus) == [None, None, "three"]


async def test_much_expires_in_parts(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No more at once than can be carried out in memory: the rest follows, without a hole."""
    monkeypatch.setattr(retention, "EXPIRED_MAX", 10)
    monkeypatch.setattr(retention, "AGAIN_S", EVERY_S)
    settings = archiver_settings(
        fresh_settings, tmp_path / "archive", retention_every_s=EVERY_S, flush_interval_s=0.2
    )
    async with running(fresh_bus, settings, clock=clock):
        await say(fresh_bus, created(), kept(1), *(posted(str(number)) for number in range(30)))
        clock.days = 2
        await expire_to(fresh_bus, 33)
        found = await spans(fresh_bus)
        assert [low for low, _ in found] == [1, *(high for _, high in found[:-1])]
        assert all(high - low <= 10 for low, high in found)
        assert await texts(fresh_bus) == [None] * 30


@contextlib.contextmanager
def lookers(bus: Bus, archiver: Archiver, clock: Clock, count: int) -> Iterator[list[Retention]]:
    """So many that look at the channel's partition."""
    (ingest,) = (it for it in archiver._ingests if it.archive.partition == partition_of(TEA, 2))
    duck = Duck(workers=1, memory_limit="256MB", waiting_max=64)
    lookups = Threads("lookup", 2)
    try:
        history = History(ingest.archive, duck, lookups, 60, Known())
        index = ReadIndex(bus, ingest)
        yield [
            Retention(bus, ingest.archive, history, index, lookups, 3600.0, clock=clock) for _ in range(count)
        ]
    finally:
        duck.close()
        lookups.close()


async def test_several_who_look_say_it_once(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, clock: Clock
) -> None:
    """At the same time, and one after the other with nothing remembered."""
    settings = archiver_settings(
        fresh_settings, tmp_path / "archive", retention_every_s=3600.0, flush_interval_s=0.2
    )
    async with running(fresh_bus, settings) as one:
        await say(fresh_bus, created(), kept(1), posted("one"))
        clock.days = 2
        with lookers(fresh_bus, one.archiver, clock, 3) as (first, second, third):
            assert not any(await asyncio.gather(first.look(), second.look()))
            assert not await third.look()
        assert [(event.since, event.before, void) for event, void in await said(fresh_bus)] == [(1, 4, None)]


async def test_a_look_that_fails_is_made_again(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, clock: Clock
) -> None:
    """Nobody is disturbed by it, and operators see that it failed."""
    label = str(partition_of(TEA, 2))
    before = metrics.RETENTION_FAILURES.labels(label)._value.get()
    settings = archiver_settings(
        fresh_settings, tmp_path / "archive", retention_every_s=EVERY_S, flush_interval_s=0.2
    )
    clock.days = 2
    async with running(fresh_bus, settings, failing_at("retention-due", 3), clock):
        await say(fresh_bus, created(), posted("one"), kept(1))
        await expire_to(fresh_bus, 3)
    assert metrics.RETENTION_FAILURES.labels(label)._value.get() == before + 3


@pytest.mark.faults
@pytest.mark.parametrize("point", ["retention-due", "retention-said", "segment-emptied", "erasure-published"])
async def test_death_at_any_point(
    fresh_bus: Bus, fresh_nats_server: NatsServer, fresh_settings: CommonSettings, tmp_path: Path, point: str
) -> None:
    """Killed before it is said, before it is known, and while it is carried out: it has effect once."""
    archive = tmp_path / "archive"
    old = rfc3339(now_us() - 40 * DAY_US)
    await ensure_streams(fresh_bus, fresh_settings)
    async with archivers(
        fresh_nats_server, archive, PARLEY_RETENTION_EVERY_S="0.1", PARLEY_ERASED_GRACE_S="0"
    ) as archiver:
        await archiver.start(point)
        await store(
            fresh_bus, TEA, [encode(one) for one in (created(), imported("a", old), posted("b"), kept(30))]
        )
        assert await archiver.ended() == -signal.SIGKILL
        await archiver.start()
        await expire_to(fresh_bus, 3)
        await no_text_in(archive, "a")
        assert await texts(fresh_bus) == [None, "b"]
    assert await spans(fresh_bus) == [(1, 3)]
