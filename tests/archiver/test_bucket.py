"""The archive in a bucket of a real server: pages, commits, merges and fencing as in a directory."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from archiver import compactor
from archiver.core.compaction import RUNS_MAX, runs_of
from archiver.manifest_store import Fenced, ManifestStore
from shared.archive_files import newest_manifest, open_archive, pin, scan
from shared.archive_s3 import S3Store
from shared.archive_store import open_store
from shared.bus import Bus
from shared.events import encode
from shared.ids import Partition
from shared.records import ArchivedHeads, ArchivedHeadsRequest, Failure, HistoryPage, HistoryRequest
from shared.settings import CommonSettings
from shared.sql_records import SQL_PIECE, SQL_WAIT, SqlNext, SqlOpened, SqlRequest
from shared.subjects import archive_subject, partition_of
from tests.support.archive import (
    archiver_settings,
    committed,
    created,
    key_of,
    posted,
    read_logs,
    running,
    store,
)
from tests.support.naive_messages import folded, random_events
from tests.support.readers import EVERYBODY, ask, messages, reader_settings, reading
from tests.support.seaweed import READER_KEY
from tests.support.waiting import eventually

TEA = key_of("tea")
ROUNDS, FLUSH = 12, 5


async def page(bus: Bus) -> list[int]:
    """All of the channel."""
    request = HistoryRequest(workspace=TEA.workspace, channel=TEA.channel, limit=500)
    subject = archive_subject(partition_of(TEA, 2), "history")
    reply = await bus.request(subject, request.model_dump_json().encode(), timeout_s=60)
    return [event.seq for event in HistoryPage.model_validate_json(reply).events]


async def test_an_archive_in_a_bucket(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Written, read, merged, swept, found again after a restart without its cache; a second writer fences."""
    monkeypatch.setattr(compactor, "SWEEP_EVERY_S", 0.2)
    settings = archiver_settings(
        fresh_settings,
        bucket,
        archive_cache=str(tmp_path / "cache"),
        flush_events=FLUSH,
        orphan_grace_s=0.0,
        query_timeout_s=30.0,
    )
    everything = list(range(1, ROUNDS * FLUSH + 2))
    async with running(fresh_bus, settings):
        await store(fresh_bus, TEA, [encode(created())])
        for _ in range(ROUNDS):
            await store(fresh_bus, TEA, [encode(posted("hi")) for _ in range(FLUSH)])
            await committed(fresh_bus)
        assert await page(fresh_bus) == everything
        partition = open_store(bucket).within(f"p{partition_of(TEA, 2):02d}")

        def is_swept() -> bool:
            manifest = newest_manifest(partition)
            assert manifest is not None
            live = {segment.path for segment in manifest.segments}
            return len(runs_of(manifest.segments)) <= RUNS_MAX and set(partition.names("data")) == live

        await eventually(is_swept, within_s=60)
    assert not (tmp_path / "s3:").exists()
    assert [row.seq for row in scan(bucket)] == everything
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    async with running(fresh_bus, settings):
        assert await page(fresh_bus) == everything
        with open_archive(pin(bucket)) as db:
            assert db.sql("SELECT count(*), max(seq) FROM events").fetchone() == (len(everything),) * 2
    before = newest_manifest(partition)
    assert before is not None
    early = ManifestStore(open_store(bucket), Partition(before.partition), lambda _: None)
    late = ManifestStore(open_store(bucket), Partition(before.partition), lambda _: None)
    first = early.open(before.partition, before.epoch, [], "early", 1)
    late.open(before.partition, before.epoch, [], "late", 2)
    with pytest.raises(Fenced):
        early.publish(first.model_copy(update={"version": first.version + 1}))


async def asked_in_sql(bus: Bus, at: str, text: str) -> bytes:
    """The first piece of what a user gets."""
    request = {"workspace": TEA.workspace, "user": "bob", "format": "json", "query": text}
    query = SqlRequest.model_validate(request).model_dump_json().encode()
    begun = SqlOpened.model_validate_json(await bus.request(f"{at}.sql.open", query, timeout_s=60))
    asked = SqlNext(query=begun.query, piece=0).model_dump_json().encode()
    piece = SQL_WAIT
    while piece == SQL_WAIT:
        piece = await bus.request(f"{at}.{begun.at}.next", asked, timeout_s=60)
    return piece


async def test_users_ask_a_bucket_in_sql(
    fresh_bus: Bus, fresh_settings: CommonSettings, bucket: str, tmp_path: Path
) -> None:
    """The process that runs the query has no key, and finds what its user may read all the same."""
    settings = archiver_settings(
        fresh_settings, bucket, archive_cache=str(tmp_path / "cache"), flush_events=FLUSH
    )
    async with running(fresh_bus, settings):
        await store(fresh_bus, TEA, [encode(created()), *(encode(posted("hi")) for _ in range(3 * FLUSH))])
        await committed(fresh_bus)
        piece = await asked_in_sql(fresh_bus, EVERYBODY, "SELECT count(*) AS n FROM messages")
    assert piece == SQL_PIECE + b'{"n":15}\n'


async def test_a_reader_of_a_bucket(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a key that may only read it says what the log says, whatever its writer commits and erases."""
    monkeypatch.setattr(compactor, "SWEEP_EVERY_S", 0.2)
    rng = random.Random(3)
    writer = archiver_settings(
        fresh_settings,
        bucket,
        archive_cache=str(tmp_path / "cache"),
        flush_events=FLUSH,
        flush_interval_s=0.5,
        query_timeout_s=30.0,
    )
    settings = reader_settings(
        fresh_settings, bucket, tmp_path / "reader", reader_poll_s=0.2, query_timeout_s=30.0
    )
    log = list(random_events(rng, 90, erasing=True))
    async with running(fresh_bus, writer):
        for _ in range(2):  # it is started again, and finds what was written meanwhile
            await store(fresh_bus, TEA, [encode(event) for event in log[:15]])
            del log[:15]
            key = os.environ["AWS_ACCESS_KEY_ID"]
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
            async with reading("one", settings):
                monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
                for _ in range(3):
                    last = await store(fresh_bus, TEA, [encode(event) for event in log[:10]])
                    del log[:10]
                    truth = folded((await read_logs(fresh_bus)).events[TEA])
                    page = await messages(fresh_bus, "one", TEA, last)
                    while isinstance(page, Failure):
                        page = await messages(fresh_bus, "one", TEA, last)
                    assert list(page.messages) == list(truth.values())
                await committed(fresh_bus)
                heads = ArchivedHeadsRequest(upto=last)
                found = await ask(fresh_bus, "one", partition_of(TEA, 2), "heads", heads, ArchivedHeads)
                assert isinstance(found, ArchivedHeads), found
                assert found.watermark == last
                sql = "SELECT seq, text FROM messages ORDER BY seq"
                assert await asked_in_sql(fresh_bus, "one", sql) == await asked_in_sql(
                    fresh_bus, EVERYBODY, sql
                )
                with pytest.raises(OSError, match="AccessDenied"):
                    S3Store.at(bucket, os.environ | {"AWS_ACCESS_KEY_ID": READER_KEY}).create("x", b"")
