"""The log loses at its front what nobody needs there, and never anything else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archiver import trimmer
from archiver.app import Archiver
from archiver.trimmer import Trimmer
from shared.bus import Bus
from shared.clock import now_us
from shared.events import encode
from shared.records import HistoryPage, HistoryRequest
from shared.settings import CommonSettings
from shared.subjects import archive_subject, log_stream, partition_of
from tests.support.archive import created, key_of, posted, running, status, store
from tests.support.sequencing import PARTITIONS, last_seq, position
from tests.support.trimming import committing, numbering
from tests.support.waiting import eventually

TEA = key_of("tea")
PARTITION = partition_of(TEA, PARTITIONS)
STREAM = log_stream(PARTITION)
HOUR_S = 3600.0


@contextlib.asynccontextmanager
async def archiving(bus: Bus, settings: CommonSettings, folder: Path) -> AsyncIterator[Archiver]:
    """An archiver that commits at once and does not trim by itself here: nothing is old enough."""
    async with running(bus, committing(settings, folder)) as one:
        yield one.archiver


def trimmer_of(bus: Bus, archiver: Archiver, keep_s: float) -> Trimmer:
    """A trimmer of the channel's partition."""
    (ingest,) = (it for it in archiver._ingests if it.archive.partition == PARTITION)
    return Trimmer(bus, ingest.archive, keep_s)


async def said(bus: Bus, count: int) -> int:
    """A channel's log of so many events; its last sequence."""
    await store(bus, TEA, [encode(created())])
    return await store(bus, TEA, [encode(posted(str(number))) for number in range(count - 1)])


async def archived(bus: Bus, end: int) -> None:
    """Wait until Parquet reaches there."""

    async def reached() -> bool:
        found = await status(bus, PARTITION)
        return found is not None and found.watermark >= end

    await eventually(reached, within_s=60)


async def checkpointed(bus: Bus, end: int) -> None:
    """Wait until the checkpoints reach there."""

    async def reached() -> bool:
        found = await position(bus, PARTITION)
        return found is not None and found.stream_seq >= end

    await eventually(reached, within_s=60)


async def first(bus: Bus) -> int:
    """The first sequence that the log holds."""
    return await bus.first_seq(STREAM)


async def _is_trimmed(bus: Bus, end: int) -> bool:
    return await first(bus) > end


async def test_what_is_old_and_remembered_goes(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """In Parquet, in the checkpoints and beyond the window: gone; history still has all of it."""
    async with numbering(fresh_settings), archiving(fresh_bus, fresh_settings, tmp_path) as one:
        end = await said(fresh_bus, 30)
        await archived(fresh_bus, end)
        await checkpointed(fresh_bus, end)
        assert await trimmer_of(fresh_bus, one, -HOUR_S).trim() == end
        assert await first(fresh_bus) == end + 1
        assert await last_seq(fresh_bus, STREAM) == end
        assert await trimmer_of(fresh_bus, one, -HOUR_S).trim() == end
        request = HistoryRequest(workspace=TEA.workspace, channel=TEA.channel, limit=50)
        reply = await fresh_bus.request(
            archive_subject(PARTITION, "history"), request.model_dump_json().encode(), timeout_s=30
        )
        page = HistoryPage.model_validate_json(reply)
        assert [event.seq for event in page.events] == list(range(1, 31))
        more = await store(fresh_bus, TEA, [encode(posted("more"))])
        await archived(fresh_bus, more)


async def test_what_is_young_stays(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the events from the window's edge on, whatever is archived."""
    async with numbering(fresh_settings), archiving(fresh_bus, fresh_settings, tmp_path) as one:
        old = await said(fresh_bus, 10)
        stored = await fresh_bus.stored_at_leader(STREAM, await last_seq(fresh_bus, STREAM))
        assert stored is not None
        await eventually(lambda: now_us() > stored.at_us + 5_000)
        end = await store(fresh_bus, TEA, [encode(posted("young"))] * 5)
        await archived(fresh_bus, end)
        await checkpointed(fresh_bus, end)
        monkeypatch.setattr(trimmer, "now_us", lambda: stored.at_us + int(HOUR_S * 1e6) + 2_000)
        assert await trimmer_of(fresh_bus, one, HOUR_S).trim() == old
        assert await first(fresh_bus) == old + 1


async def test_what_is_not_in_parquet_stays(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Only what the manifest has, however far the sequencer is."""
    settings = committing(fresh_settings, tmp_path)
    async with numbering(fresh_settings):
        async with running(fresh_bus, settings):
            old = await said(fresh_bus, 10)
            await archived(fresh_bus, old)
        async with running(fresh_bus, settings.model_copy(update={"flush_interval_s": 600.0})) as one:
            end = await store(fresh_bus, TEA, [encode(posted("hot"))] * 5)
            await checkpointed(fresh_bus, end)
            assert await trimmer_of(fresh_bus, one.archiver, -HOUR_S).trim() == old
            assert await first(fresh_bus) == old + 1


async def test_what_is_not_in_checkpoints_stays(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Without a sequencer nothing goes; it would have to begin with the archive."""
    async with archiving(fresh_bus, fresh_settings, tmp_path) as one:
        end = await said(fresh_bus, 10)
        await archived(fresh_bus, end)
        assert await trimmer_of(fresh_bus, one, -HOUR_S).trim() == await first(fresh_bus) - 1
        assert await first(fresh_bus) == 1


async def test_a_log_that_is_another_one_is_left_alone(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """If the event at the archive's end is not the archived one, nothing is removed."""
    async with numbering(fresh_settings), archiving(fresh_bus, fresh_settings, tmp_path) as one:
        end = await said(fresh_bus, 10)
        await archived(fresh_bus, end)
        await checkpointed(fresh_bus, end)
        trimming = trimmer_of(fresh_bus, one, -HOUR_S)
        trimming._archive.proof_us += 1
        await trimming.trim()
        assert await first(fresh_bus) == 1


async def test_it_goes_on_by_itself(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archiver trims again and again; a broker that refuses is asked the next time."""
    monkeypatch.setattr(trimmer, "TRIM_EVERY_S", 0.05)
    monkeypatch.setattr(trimmer, "now_us", lambda: now_us() + 1_000_000_000_000)
    async with numbering(fresh_settings), archiving(fresh_bus, fresh_settings, tmp_path):
        for rounds in range(2):
            end = await said(fresh_bus, 10) if rounds == 0 else await store(fresh_bus, TEA, [b"x"])
            await eventually(lambda end=end: _is_trimmed(fresh_bus, end), within_s=60)  # type: ignore[misc]
    assert (await fresh_bus.ends(STREAM))[1] == 11
