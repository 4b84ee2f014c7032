"""Readers beside a writer on a real server: what they answer is what the log holds, whatever it does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from archiver import compactor, takeover
from shared.archive_files import newest_manifest, pin
from shared.archive_store import LocalStore
from shared.bus import Bus
from shared.events import encode
from shared.ids import StreamSeq
from shared.log_epochs import begin_epoch, judge
from shared.message_records import MessagesPage
from shared.records import (
    ArchivedHeads,
    ArchivedHeadsRequest,
    ArchiveStatus,
    Failure,
    HistoryPage,
    HistoryRequest,
)
from shared.search import SearchReply, SearchRequest
from shared.settings import CommonSettings
from shared.subjects import partition_of
from tests.support.archive import (
    ALICE,
    WORKSPACE,
    committed,
    created,
    key_of,
    posted,
    read_logs,
    running,
    store,
)
from tests.support.archive import archiver_settings as writer_settings
from tests.support.naive_messages import folded, random_events
from tests.support.reader_answers import answered, answers, everything, files, honest, say
from tests.support.readers import EVERYBODY, Nothing, ask, messages, reader_settings, reading
from tests.support.waiting import eventually

TEA, GO = key_of("tea"), key_of("go")
P = partition_of(TEA, 2)


@pytest.mark.parametrize("grace_s", [0.0, 900.0])
async def test_answers_are_the_logs_while_the_writer_moves(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grace_s: float,
) -> None:
    """Two readers and the writer, which commits, merges and erases: all say the same, and it is the fold."""
    monkeypatch.setattr(compactor, "SWEEP_EVERY_S", 0.1)
    rng = random.Random(11)
    archive = tmp_path / "archive"
    writer = writer_settings(
        fresh_settings,
        archive,
        flush_events=9,
        flush_interval_s=0.3,
        orphan_grace_s=grace_s,
        erased_grace_s=grace_s,
    )
    logs = {key: honest(random_events(rng, 150, erasing=True)) for key in (TEA, GO)}
    one, two = (reader_settings(fresh_settings, archive, tmp_path / name) for name in ("one", "two"))
    async with running(fresh_bus, writer), reading("one", one), reading("two", two):
        for _ in range(8):
            for key, log in logs.items():
                some, logs[key] = log[:10], log[10:]
                last = await say(fresh_bus, key, *some)
                truth = folded((await read_logs(fresh_bus)).events[key])
                for at in ("one", "two"):
                    page = await messages(fresh_bus, at, key, last)
                    while isinstance(page, Failure):
                        page = await messages(fresh_bus, at, key, last)
                    assert list(page.messages) == list(truth.values())[-200:]
            ids = [event.id for event in rng.sample(some, 3)] + [posted("").id]
            said = await answers(fresh_bus, EVERYBODY, key, last, ids)
            assert await answers(fresh_bus, "one", key, last, ids) == said
            assert await answers(fresh_bus, "two", key, last, ids) == said
        await committed(fresh_bus)
        assert sum(len(manifest.segments) for manifest in pin(archive).manifests) < 2 * 12
        for partition in range(2):
            manifest = newest_manifest(LocalStore(archive / f"p{partition:02d}"))
            assert manifest is not None
            asked = ArchivedHeadsRequest(upto=manifest.hi)
            heads = [
                await answered(fresh_bus, at, partition, "heads", asked, ArchivedHeads)
                for at in (EVERYBODY, "one", "two")
            ]
            assert heads[0] == heads[1] == heads[2]


async def test_without_a_writer(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """A reader answers up to its bound, and nothing in the archive changes; with a writer it goes on."""
    archive = tmp_path / "archive"
    writer = writer_settings(fresh_settings, archive, flush_events=4)
    settings = reader_settings(
        fresh_settings,
        archive,
        tmp_path / "reader",
        flush_events=10,
        applied_wait_s=1.0,
        archiver_partitions=str(P),
    )
    async with running(fresh_bus, writer):
        await say(fresh_bus, TEA, created(), *(posted(f"tea {n}") for n in range(5)))
        await committed(fresh_bus)
    before = files(archive)
    pauses = sample("parley_archive_pauses_total")
    async with running(fresh_bus, settings):
        last = await say(fresh_bus, TEA, *(posted(f"more {n}") for n in range(8)))
        page = await messages(fresh_bus, EVERYBODY, TEA, last)
        assert isinstance(page, MessagesPage), page
        assert [it.text for it in page.messages][-1] == "more 7"
        assert len(page.messages) == 13
        found = await answered(
            fresh_bus,
            EVERYBODY,
            P,
            "search",
            SearchRequest(workspace=WORKSPACE, user=ALICE, query="more 7"),
            SearchReply,
        )
        assert isinstance(found, SearchReply)
        assert [hit.seq for hit in found.hits] == [14]
        refused: object = page
        said = 13
        while not isinstance(refused, Failure):
            assert said < 60
            last = await say(fresh_bus, TEA, posted(f"flood {said}"))
            said += 1
            refused = await messages(fresh_bus, EVERYBODY, TEA, last)
        assert refused.error == "unavailable"
        await eventually(lambda: sample("parley_archive_pauses_total") > pauses)
        status = await ask(fresh_bus, EVERYBODY, P, "status", Nothing(), ArchiveStatus)
        assert isinstance(status, ArchiveStatus)
        assert status.watermark == 6
        assert 20 <= status.applied - status.watermark < said
        assert files(archive) == before
        kept = writer_settings(fresh_settings, archive, flush_events=4)
        async with Bus.connect(fresh_settings, "writer") as bus, running(bus, kept):
            page = await until_answered(fresh_bus, "archive", last)
            await committed(fresh_bus)
        assert len(page.messages) == said
        page = await until_answered(fresh_bus, "archive", last)
        assert len(page.messages) == said


def sample(name: str) -> float:
    """A metric of the partition, of all archivers in this process."""
    return REGISTRY.get_sample_value(name, {"partition": str(P)}) or 0.0


async def until_answered(bus: Bus, at: str, last: StreamSeq) -> MessagesPage:
    """A page of the channel once there is one."""
    found: list[MessagesPage] = []

    async def is_there() -> bool:
        page = await messages(bus, at, TEA, last)
        if isinstance(page, MessagesPage):
            found.append(page)
        return bool(found)

    await eventually(is_there, within_s=60)
    return found[0]


async def test_a_writer_that_is_too_far_ahead(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What memory cannot reach is taken from the segments: the archive is opened again."""
    archive = tmp_path / "archive"
    writer = writer_settings(fresh_settings, archive, flush_events=1000, flush_interval_s=1.0)
    settings = reader_settings(
        fresh_settings, archive, tmp_path / "reader", flush_events=2, reader_poll_s=0.2
    )
    reopened = sample("parley_archive_reopened_total")
    async with running(fresh_bus, writer), reading("one", settings):
        await say(fresh_bus, TEA, created())
        while sample("parley_archive_reopened_total") == reopened:
            bodies = [encode(posted("much")) for _ in range(50)]
            last = await store(fresh_bus, TEA, bodies)
        page = await until_answered(fresh_bus, "one", last)
        truth = folded((await read_logs(fresh_bus)).events[TEA])
        assert list(page.messages) == list(truth.values())[-200:]


async def test_a_store_that_is_away(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What memory has is answered all the same; the reader is not ready until the archive is back."""
    monkeypatch.setattr(takeover, "LISTED_EVERY", 2)
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    writer = writer_settings(fresh_settings, archive)
    async with running(fresh_bus, writer):
        await say(fresh_bus, TEA, created(), posted("hi"))
        await committed(fresh_bus)
    async with reading("one", reader_settings(fresh_settings, archive, tmp_path / "reader")) as one:
        archive.rename(elsewhere)
        await eventually(lambda: not one.health.ready, within_s=60)
        last = await say(fresh_bus, GO, created(), posted("hot"))
        page = await messages(fresh_bus, "one", GO, last)
        assert isinstance(page, MessagesPage)
        assert [it.text for it in page.messages] == ["hot"]
        assert isinstance(await messages(fresh_bus, "one", TEA), Failure)
        elsewhere.rename(archive)
        await eventually(lambda: one.health.ready, within_s=60)
        assert [it.text for it in (await until_answered(fresh_bus, "one", StreamSeq(0))).messages] == ["hi"]


async def test_a_log_with_a_new_epoch(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """The reader answers for the new one as soon as its writer has begun its archive, and not before."""
    archive = tmp_path / "archive"
    writer = writer_settings(fresh_settings, archive)
    settings = reader_settings(fresh_settings, archive, tmp_path / "reader")
    async with running(fresh_bus, writer), reading("one", settings):
        last = await say(fresh_bus, TEA, created(), posted("hi"))
        await until_answered(fresh_bus, "one", last)
        old = (await judge(fresh_bus, P)).epoch
        new = await begin_epoch(fresh_bus, await judge(fresh_bus, P))
        page = HistoryRequest(workspace=TEA.workspace, channel=TEA.channel, applied=last, epoch=new)
        found = await answered(fresh_bus, "one", P, "history", page, HistoryPage)
        assert isinstance(found, HistoryPage)
        assert [event.seq for event in found.events] == [1, 2]
        refused = await ask(
            fresh_bus, "one", P, "history", page.model_copy(update={"epoch": old}), HistoryPage
        )
        assert isinstance(refused, Failure)
        heads = ArchivedHeadsRequest(upto=last, epoch=old)
        assert isinstance(await ask(fresh_bus, "one", P, "heads", heads, ArchivedHeads), Failure)


async def test_a_reader_that_is_behind_says_so(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Nothing is called absent, counted or readable by what it knows if the question is about more."""
    archive = tmp_path / "archive"
    writer = writer_settings(fresh_settings, archive, flush_interval_s=3600.0, archiver_partitions=str(P))
    settings = reader_settings(
        fresh_settings,
        archive,
        tmp_path / "reader",
        flush_events=1,
        applied_wait_s=0.5,
        archiver_partitions=str(P),
    )
    async with running(fresh_bus, writer), reading("one", settings):
        known = posted("late answer")
        await say(fresh_bus, TEA, created())
        while not isinstance(
            await messages(fresh_bus, "one", TEA, await say(fresh_bus, TEA, posted("x"))), Failure
        ):
            pass
        last = await say(fresh_bus, TEA, known)
        for operation, answer in (await everything(fresh_bus, "one", TEA, last, [known.id])).items():
            assert isinstance(answer, Failure), operation
            assert answer.error == "unavailable"
        for operation, answer in (await everything(fresh_bus, EVERYBODY, TEA, last, [known.id])).items():
            assert not isinstance(answer, Failure), operation


async def test_heads_are_those_of_the_newest_manifest(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """A sequencer asks up to where the log begins: a reader that has not looked for long looks now."""
    archive = tmp_path / "archive"
    writer = writer_settings(fresh_settings, archive, flush_events=1)
    settings = reader_settings(
        fresh_settings, archive, tmp_path / "reader", reader_poll_s=3600.0, applied_wait_s=1.0
    )
    async with running(fresh_bus, writer), reading("one", settings):
        last = await say(fresh_bus, TEA, created(), posted("hi"))
        await committed(fresh_bus)
        await until_answered(fresh_bus, "one", last)
        blind = await ask(fresh_bus, "one", P, "heads", ArchivedHeadsRequest(), ArchivedHeads)
        assert isinstance(blind, ArchivedHeads)
        assert (blind.watermark, blind.heads) == (0, ())
        beyond = ArchivedHeadsRequest(upto=StreamSeq(last + 1))
        assert isinstance(await ask(fresh_bus, "one", P, "heads", beyond, ArchivedHeads), Failure)
        found = await ask(fresh_bus, "one", P, "heads", ArchivedHeadsRequest(upto=last), ArchivedHeads)
        assert isinstance(found, ArchivedHeads)
        assert (found.watermark, [head.seq for head in found.heads]) == (last, [2])
