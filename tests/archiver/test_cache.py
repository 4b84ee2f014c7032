"""The cache is derived: whatever happens to it, it becomes again what the segments say."""

from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archiver import retained
from archiver.cache import Cache
from archiver.core.hot import NOTHING_YET, Batch, Hot
from archiver.manifest_store import Fenced
from archiver.partition import PartitionArchive
from shared.archive_store import LocalStore
from shared.channel import ChannelState
from shared.events import ChannelRetentionSet, KnownEvent, encode
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Epoch,
    Partition,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
)
from tests.support.archive import ALICE, created, hot_of, key_of, posted

EPOCH = Epoch("e1")
TEA, GO = key_of("tea"), key_of("go")


def bodies(messages: int) -> list[bytes]:
    """A channel's log: its creation, messages, and garbage."""
    return [encode(created()), *(encode(posted(str(number))) for number in range(messages)), b"garbage"]


def dump(path: Path) -> list[str]:
    """Everything in a cache."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return sorted(db.iterdump())


def archive_at(directory: Path, epoch: Epoch = EPOCH) -> PartitionArchive:
    """An open archive of partition 0."""
    archive = PartitionArchive(LocalStore(directory), directory / "cache", Partition(0), epoch)
    archive.open()
    return archive


def fill(archive: PartitionArchive, rounds: int = 3) -> None:
    """Commit some segments."""
    for number in range(rounds):
        for key in (TEA, GO):
            for missing in archive.hot.missing([key]):
                archive.hot.load(missing, archive.cache.heads([missing])[missing])
            for body in bodies(5 + number):
                archive.hot.add(key, StreamSeq(archive.hot.applied + 1), 1_790_000_000_000_000, body)
        commit(archive)


def record(cache: Cache, batch: Batch) -> None:
    """Take in a whole batch."""
    cache.record(batch.lo, batch.hi, batch.channels)


def commit(archive: PartitionArchive) -> Batch:
    """One commit."""
    batch = archive.hot.cut()
    archive.committed(batch, archive.write(batch))
    return batch


def test_a_deleted_cache_is_rebuilt(tmp_path: Path) -> None:
    """Deleting it changes nothing but the time of the next start."""
    archive = archive_at(tmp_path)
    fill(archive)
    archive.close()
    path = tmp_path / "cache" / "p00.sqlite"
    before = dump(path)
    for leftover in path.parent.iterdir():
        leftover.unlink()
    again = archive_at(tmp_path)
    assert again.cache.position == again.manifest.hi
    again.close()
    assert dump(path) == before


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "foreign"])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, damage: str) -> None:
    """A file that is no cache of this archive is replaced."""
    archive = archive_at(tmp_path)
    fill(archive)
    archive.close()
    path = tmp_path / "cache" / "p00.sqlite"
    before = dump(path)
    content = path.read_bytes()
    damaged = {"garbage": b"\x00" * 5000, "truncated": content[: len(content) // 2], "empty": b""}
    if damage == "foreign":
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("UPDATE position SET epoch = 'other'")
    else:
        path.write_bytes(damaged[damage])
    archive_at(tmp_path).close()
    assert dump(path) == before


def test_a_cache_behind_catches_up(tmp_path: Path) -> None:
    """Dead between manifest and cache: the missing segments are counted at the next start."""
    archive = archive_at(tmp_path)
    fill(archive, rounds=1)
    path = tmp_path / "cache" / "p00.sqlite"
    old = dump(path)
    archive.cache.close()
    behind = path.read_bytes()
    archive.cache = Cache(path, EPOCH, archive.manifest.hi)
    fill(archive, rounds=2)
    archive.close()
    before = dump(path)
    path.write_bytes(behind)
    assert dump(path) == old
    archive_at(tmp_path).close()
    assert dump(path) == before


def test_a_cache_ahead_begins_anew(tmp_path: Path) -> None:
    """If the manifests were put back, what the cache knows beyond them is not believed."""
    archive = archive_at(tmp_path)
    fill(archive, rounds=1)
    archive.close()
    cache = Cache(tmp_path / "cache" / "p00.sqlite", EPOCH, StreamSeq(archive.manifest.hi - 1))
    assert cache.position == 0
    cache.close()


def test_another_archivers_cache_is_not_removed(tmp_path: Path) -> None:
    """A cache that is ahead because somebody else writes the partition by now is theirs."""

    def fenced() -> None:
        raise Fenced("theirs")

    archive = archive_at(tmp_path)
    fill(archive)
    archive.close()
    path = tmp_path / "cache" / "p00.sqlite"
    before = dump(path)
    with pytest.raises(Fenced, match="theirs"):
        Cache(path, EPOCH, StreamSeq(1), still_ours=fenced)
    assert dump(path) == before


def test_many_may_open_it_at_once(tmp_path: Path) -> None:
    """Where there is none, and where there is one that all of them find unusable."""
    path = tmp_path / "cache" / "p00.sqlite"

    def opened(epoch: str) -> StreamSeq:
        cache = Cache(path, Epoch(epoch), StreamSeq(0))
        try:
            return cache.position
        finally:
            cache.close()

    with ThreadPoolExecutor(8) as pool:
        for epoch in ("e1", "e2", "e3"):
            assert list(pool.map(opened, [epoch] * 8)) == [0] * 8


def test_two_writers_cannot_both_move_it(tmp_path: Path) -> None:
    """A batch that does not continue the cache is refused and changes nothing."""
    cache = Cache(tmp_path / "c.sqlite", EPOCH, StreamSeq(0))
    record(cache, hot_of(0, {TEA: bodies(3)}).cut())
    before = dump(tmp_path / "c.sqlite")
    with pytest.raises(Fenced):
        record(cache, hot_of(0, {GO: bodies(3)}).cut())
    assert dump(tmp_path / "c.sqlite") == before
    cache.close()


def test_heads_of_another_archiver_are_refused(tmp_path: Path) -> None:
    """Who was fenced and does not know it yet must not number from where the new writer stands."""
    fenced, writer = (Cache(tmp_path / "c.sqlite", EPOCH, StreamSeq(0)) for _ in range(2))
    hot = hot_of(0, {TEA: bodies(3)})
    record(writer, hot.cut())
    assert writer.heads([TEA])[TEA].seq == len(hot)
    with pytest.raises(Fenced):
        fenced.heads([TEA])
    for cache in (fenced, writer):
        cache.close()


def test_heads_and_ids(tmp_path: Path) -> None:
    """Heads with their states, ids with their places; unknown ones are empty."""
    cache = Cache(tmp_path / "c.sqlite", EPOCH, StreamSeq(0))
    batch = hot_of(0, {TEA: bodies(3)}).cut()
    record(cache, batch)
    head = cache.heads([TEA, GO])
    assert head[GO] == NOTHING_YET
    assert head[TEA] == batch.channels[0][1]
    assert isinstance(head[TEA].state, ChannelState)
    at = batch.channels[0][2][2].recorded
    known, other, nobody = cache.known(
        TEA, [(ALICE, at.event.id), (UserId("bob"), at.event.id), (UserId(""), at.event.id)]
    )
    assert known is not None
    assert (known.seq, known.stream_seq) == (3, 3)
    assert (other, nobody) == (None, None)
    cache.close()


@pytest.mark.parametrize("asked", [1, 8, 9, 64, 65, 200])
def test_many_ids_at_once(tmp_path: Path, asked: int) -> None:
    """However many are asked, each gets its own answer, in the order of the question, also asked twice."""
    cache = Cache(tmp_path / "c.sqlite", EPOCH, StreamSeq(0))
    batch = hot_of(0, {TEA: bodies(100), GO: bodies(3)}).cut()
    record(cache, batch)
    ids = {hot.recorded.event.id: hot.recorded.seq for hot in batch.channels[1][2][:-1]}
    question = [
        (ALICE, CommandId(f"absent {n}")) if n % 3 else (ALICE, list(ids)[n // 2]) for n in range(asked)
    ]
    answers = cache.known(TEA, question)
    assert [answer and answer.seq for answer in answers] == [ids.get(id_) for _, id_ in question]
    assert cache.known(key_of("nowhere"), question) == [None] * asked
    cache.close()


def test_stream_spans(tmp_path: Path) -> None:
    """Any range of a channel's seqs lies within the span that the cache names for it."""
    cache = Cache(tmp_path / "c.sqlite", EPOCH, StreamSeq(0))
    hot = Hot(StreamSeq(0))
    truth: list[int] = []
    for number in range(6):
        for key in (TEA, GO):
            for missing in hot.missing([key]):
                hot.load(missing, cache.heads([missing])[missing])
            for body in bodies(number):
                added = hot.add(key, StreamSeq(hot.applied + 1), 5, body)
                if key == TEA:
                    truth.append(added.recorded.stream_seq)
        batch = hot.cut()
        record(cache, batch)
        hot.drop(batch)
    for first in range(1, len(truth) + 1):
        for last in range(first, len(truth) + 1):
            span = cache.stream_span(TEA, Seq(first), Seq(last))
            assert span is not None
            assert span[0] <= truth[first - 1] <= truth[last - 1] <= span[1]
    assert cache.stream_span(key_of("none"), Seq(1), Seq(2)) is None
    cache.close()


def test_channels_with_a_retention_are_listed(tmp_path: Path) -> None:
    """In pages, in order, as their newest setting says; rebuilt like the rest."""
    names = [f"c{number:04d}" for number in range(retained.PAGE + 3)]
    archive = archive_at(tmp_path)
    for name in names:
        say(archive, name, created(), retention(7))
    say(archive, names[1], retention(None))
    say(archive, "tea", created())
    commit(archive)
    expected = [key_of(name) for name in names if name != names[1]]
    for _ in range(2):
        page = archive.cache.retained(ChannelKey(WorkspaceId(""), ChannelId("")))
        assert page == expected[: retained.PAGE]
        assert archive.cache.retained(page[-1]) == expected[retained.PAGE :]
        say(archive, names[2], retention(9))
        commit(archive)
        archive.close()
        (tmp_path / "cache" / "p00.sqlite").unlink()
        archive = archive_at(tmp_path)
    archive.close()


def say(archive: PartitionArchive, channel: str, *events: KnownEvent) -> None:
    """Take events of a channel in."""
    key = key_of(channel)
    for missing in archive.hot.missing([key]):
        archive.hot.load(missing, archive.cache.heads([missing])[missing])
    for event in events:
        archive.hot.add(key, StreamSeq(archive.hot.applied + 1), 1_790_000_000_000_000, encode(event))


def retention(days: int | None) -> ChannelRetentionSet:
    """Its setting."""
    return ChannelRetentionSet(id=posted("x").id, author=ALICE, days=days)
