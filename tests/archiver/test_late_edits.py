"""An edit that is recorded behind the erasure of its message: it is found, and erased by one more event."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from archiver import late_edits, metrics
from archiver.cached_erasures import LateEdit
from archiver.retention import AUTHOR
from shared import events as e
from shared.bus import Bus
from shared.events import KnownEvent, encode
from shared.ids import Seq, UserId, new_command_id
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import partition_of
from tests.support.archive import (
    ALICE,
    archiver_settings,
    created,
    failing_at,
    key_of,
    posted,
    read_logs,
    running,
    store,
)
from tests.support.archived_messages import Archived
from tests.support.events import NOW_MS
from tests.support.expiring import TEA, edited, expiry, kept, no_text_in, say, texts
from tests.support.killing import archivers, erased
from tests.support.nats import NatsServer

GO = key_of("go")
BOB = UserId("bob")


def user_erased(user: UserId) -> e.UserErased:
    """What an operator says of somebody."""
    return e.UserErased(id=new_command_id(NOW_MS), author=ALICE, user=user)


@pytest.mark.parametrize(
    "erasing", [erased(3), user_erased(ALICE), expiry(1, 4, 0)], ids=["message", "user", "expired"]
)
@pytest.mark.parametrize("at_once", [True, False], ids=["one segment", "segments"])
async def test_it_is_found(tmp_path: Path, erasing: KnownEvent, at_once: bool) -> None:
    """Whatever erased its message; not edits from before, nor of others; until an erasure names it."""
    archived = Archived(tmp_path)
    cache = archived.archive.cache
    events = [
        *(created(), kept(30), posted("3"), edited(3, "in time"), erasing),
        *(posted("6"), edited(6, "fine"), edited(3, "late"), edited(3, "later")),
    ]
    try:
        for event in events:
            archived.add(TEA, [event])
            if not at_once:
                await archived.commit()
        archived.add(GO, events[:4])
        await archived.commit()
        late = LateEdit(TEA, Seq(3), Seq(9), 1_790_000_000_000_009, ALICE)
        assert cache.late_edits() == [late]
        await archived.erase()
        await archived.merge()
        archived.archive.close()
        (archived.cache_dir / "p00.sqlite").unlink()
        archived.open()
        cache = archived.archive.cache
        assert cache.late_edits() == [late]
        archived.add(TEA, [erased(3)])
        await archived.commit()
        assert cache.late_edits() == []
        await archived.erase()
        page = await archived.page(TEA, limit=200)
        assert {message.seq: message.text for message in page.messages} == {3: None, 6: "fine"}
    finally:
        archived.close()


async def test_what_was_never_allowed_is_not(tmp_path: Path) -> None:
    """An edit that is void shows nowhere, and of what somebody else erased it says nothing."""
    archived = Archived(tmp_path)
    try:
        theirs = e.MessageEdited(
            id=new_command_id(NOW_MS), author=BOB, ref=Seq(2), ref_author=ALICE, text="mine"
        )
        archived.add(TEA, [created(BOB), posted("2"), user_erased(BOB), theirs])
        archived.add(GO, [created(), erased(3), posted("3"), edited(3, "was not there to be erased")])
        await archived.commit()
        assert archived.archive.cache.late_edits() == []
    finally:
        archived.close()


@pytest.mark.usefixtures("often")
async def test_it_is_erased(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """In the log once, in the name of no person; then its text is nowhere any more, on disk nor in pages."""
    settings = archiver_settings(fresh_settings, str(tmp_path), flush_interval_s=0.2, erased_grace_s=0.0)
    async with running(fresh_bus, settings):
        await say(fresh_bus, created(), kept(30), posted("three"), posted("four"), erased(3))
        await say(fresh_bus, expiry(1, 5, 0), edited(3, "late"), edited(4, "late, too"), posted("young"))
        await no_text_in(str(tmp_path), "three", "four", "late", "late, too")
        assert await texts(fresh_bus) == [None, None, "young"]
    assert await erasures(fresh_bus) == [(ALICE, 3), (AUTHOR, 3), (AUTHOR, 4)]


@pytest.mark.usefixtures("often")
async def test_a_look_that_fails_is_made_again(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Nobody is disturbed by it, and operators see that it failed."""
    failures = metrics.LATE_EDIT_FAILURES.labels(str(partition_of(TEA, 2)))._value
    before = failures.get()
    settings = archiver_settings(fresh_settings, str(tmp_path), flush_interval_s=0.2, erased_grace_s=0.0)
    async with running(fresh_bus, settings, failing_at("late-edit-due", 3)):
        await say(fresh_bus, created(), posted("two"), erased(2), edited(2, "late"))
        await no_text_in(str(tmp_path), "two", "late")
    assert failures.get() == before + 3
    assert await erasures(fresh_bus) == [(ALICE, 2), (AUTHOR, 2)]


@pytest.mark.faults
@pytest.mark.parametrize("point", ["late-edit-due", "late-edit-said"])
async def test_death_at_any_point(
    fresh_bus: Bus, fresh_nats_server: NatsServer, fresh_settings: CommonSettings, tmp_path: Path, point: str
) -> None:
    """Killed before it is said, and before it is known: it is said once."""
    await ensure_streams(fresh_bus, fresh_settings)
    async with archivers(fresh_nats_server, tmp_path, PARLEY_ERASED_GRACE_S="0") as archiver:
        await archiver.start(point)
        events = [created(), posted("two"), erased(2), edited(2, "late")]
        await store(fresh_bus, TEA, [encode(event) for event in events])
        assert await archiver.ended() == -signal.SIGKILL
        await archiver.start()
        await no_text_in(tmp_path, "two", "late")
    assert await erasures(fresh_bus) == [(ALICE, 2), (AUTHOR, 2)]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late edits are looked for without a pause worth the name."""
    monkeypatch.setattr(late_edits, "LOOK_EVERY_S", 0.05)


async def erasures(bus: Bus) -> list[tuple[str, int]]:
    """Who has said in the channel's log that which message is erased."""
    logged = (await read_logs(bus)).events[TEA]
    return [(one.event.author, one.event.ref) for one in logged if isinstance(one.event, e.MessageErased)]
