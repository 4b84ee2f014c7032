"""An archive that somebody else writes, beside its writer: whatever is taken over when, both say the same."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.core.manifest import BrokenManifest
from archiver.manifest_store import MANIFESTS_KEPT, ForeignArchive, ManifestStore
from archiver.partition import PartitionArchive
from archiver.read_only import ReadOnlyStore
from archiver.replica import PartitionReplica
from shared import events as e
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, manifest_name
from shared.archive_store import LocalStore
from shared.errors import LogRegressed, Unavailable
from shared.fingerprints import ERASED
from shared.ids import ChannelKey, Epoch, Seq, StreamSeq, UserId
from tests.archiver.test_messages import check_all
from tests.support.archive import created, key_of, posted
from tests.support.archived_messages import PARTITION, Archived
from tests.support.naive_messages import random_events
from tests.support.readers import tables

TEA, GO = key_of("tea"), key_of("go")
ANN = UserId("ann")


class Written(Archived):
    """The writer, which remembers in which order the log has its events."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.log: list[tuple[ChannelKey, e.KnownEvent]] = []

    def say(self, key: ChannelKey, *events: e.KnownEvent) -> None:
        """The log's next events."""
        self.add(key, events)
        self.log += [(key, event) for event in events]


class Replicated(Archived):
    """The same archive, read."""

    archive: PartitionReplica

    def __init__(self, writer: Written, cache_dir: Path) -> None:
        self._writer = writer
        super().__init__(writer.directory, writer.duck, cache_dir)

    def partition(self) -> PartitionArchive:
        store = ReadOnlyStore(LocalStore(self.directory))
        return PartitionReplica(store, self.cache_dir, PARTITION, Epoch("e"), replaced=[Epoch("old")])

    def follow(self, count: int = 10**6) -> None:
        """Take so many of the log's next events."""
        begin = self.archive.hot.applied
        for key, event in self._writer.log[begin : begin + count]:
            self.add(key, [event])
        self.logs = {
            key: [it for it in log if it.stream_seq <= self.archive.hot.applied]
            for key, log in self._writer.logs.items()
        }

    async def take_over(self, *, listed: bool = False, dying: bool = False) -> bool:
        """What is newer, if the log is followed up to there; dying, it is killed right before the swap."""
        archive = self.archive
        manifest = await asyncio.to_thread(lambda: archive.newer(listed=listed))
        if manifest is None or manifest.hi > archive.hot.applied:
            return False
        names = await asyncio.to_thread(archive.erased_names, manifest)
        hot = archive.hot.behind(archive.manifest.hi, manifest.hi - archive.manifest.hi)
        batch = await asyncio.to_thread(archive.take_in, manifest, names, hot)
        if dying:
            self.again()
            return False
        archive.taken_over(manifest, batch)
        return True

    def again(self) -> None:
        """Killed and started; what was hot is gone."""
        self.archive.close()
        self.open()
        self.follow(0)

    def close(self) -> None:
        self.lookups.close()
        self.archive.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Written]:
    """An empty archive and who writes it."""
    writer = Written(tmp_path / "archive")
    yield writer
    writer.close()


@pytest.fixture
def reader(writer: Written, tmp_path: Path) -> Iterator[Replicated]:
    """Who reads it."""
    reader = Replicated(writer, tmp_path / "reader")
    yield reader
    reader.close()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_pages_and_cache_are_the_writers(writer: Written, reader: Replicated, seed: int) -> None:
    """Far behind or close, across commits, merges, erasures and restarts: pages at its own position."""
    rng = random.Random(seed)
    logs = {key: list(random_events(rng, 120, erasing=True)) for key in (TEA, GO)}
    taken_over = 0
    for step in range(24):
        for key in (TEA, GO):
            taken, logs[key] = logs[key][:5], logs[key][5:]
            writer.say(key, *taken)
        if rng.random() < 0.7:
            await writer.commit()
        if rng.random() < 0.4:
            await writer.merge()
            await writer.erase()
        reader.follow(rng.choice([0, 3, 10, 10**6]))
        taken_over += await reader.take_over(listed=rng.random() < 0.5, dying=rng.random() < 0.2)
        if step % 9 == 8:
            reader.again()
        for key in (TEA, GO):
            if reader.logs.get(key):
                await check_all(reader, key, rng, 1)
    await writer.commit()
    await writer.merge()
    await writer.erase()
    reader.follow()
    taken_over += await reader.take_over()
    assert taken_over >= 2
    assert reader.archive.manifest == writer.archive.manifest == newest_manifest(writer.archive.files)
    assert tables(reader.cache_dir) == tables(writer.cache_dir)
    assert len(reader.archive.hot) == 0
    for key in (TEA, GO):
        await check_all(reader, key, rng, 5)


def runs(cache_dir: Path) -> int:
    """How many ranges the cache has."""
    with sqlite3.connect(cache_dir / "p00.sqlite") as db:
        return int(db.execute("SELECT count(*) FROM runs").fetchone()[0])


async def test_ranges_are_joined_when_a_merge_is_taken_over(writer: Written, reader: Replicated) -> None:
    """Else each commit would leave one for each of its channels, for ever."""
    writer.say(TEA, created())
    for _ in range(20):
        writer.say(TEA, posted("hi"))
        await writer.commit()
        reader.follow()
        await reader.take_over()
    before = runs(reader.cache_dir)
    await writer.merge()
    assert await reader.take_over()
    assert runs(reader.cache_dir) < before == 20


async def test_what_is_erased_is_forgotten(writer: Written, reader: Replicated) -> None:
    """Of an id only its place stays, when the erasure is taken over, and after having been away meanwhile."""
    texts = [posted(f"secret {number}", ANN) for number in range(4)]
    writer.say(TEA, created(ANN), *texts)
    await writer.commit()
    reader.follow()
    assert await reader.take_over()

    def fingerprints() -> list[bool]:
        known = reader.archive.cache.known(TEA, [(ANN, text.id) for text in texts])
        return [it is not None and it.fingerprint == ERASED for it in known]

    assert fingerprints() == [False] * 4
    for ref in (2, 3):
        writer.say(TEA, e.MessageErased(id=posted("").id, author=UserId("op"), ref=Seq(ref)))
        await writer.commit()
        await writer.erase()
        if ref == 2:
            reader.follow()
            assert await reader.take_over()
            assert fingerprints() == [True, False, False, False]
        else:
            reader.again()
            assert fingerprints() == [True, True, False, False]
    writer.say(TEA, e.UserErased(id=posted("").id, author=UserId("op"), user=ANN))
    reader.follow()
    await writer.commit()
    await writer.erase()
    assert await reader.take_over()
    assert fingerprints() == [True] * 4
    assert not list(reader.archive.erasures)
    assert tables(reader.cache_dir) == tables(writer.cache_dir)


async def test_a_version_that_is_gone_is_found_in_the_list(writer: Written, reader: Replicated) -> None:
    """By name one learns nothing where more versions were written than are kept."""
    store = ManifestStore(LocalStore(writer.directory), PARTITION, lambda _: None)
    manifest = writer.archive.manifest
    for _ in range(MANIFESTS_KEPT + 5):
        manifest = manifest.model_copy(update={"version": manifest.version + 1})
        store.publish(manifest)
    store.sweep(manifest, 0, 0.0)
    assert reader.archive.newer(listed=False) is None
    assert reader.archive.newer(listed=True) == manifest


def publish(writer: Written, **fields: object) -> Manifest:
    """The newest manifest, changed."""
    manifest = writer.archive.manifest.model_copy(update=fields)
    name = f"manifest/{manifest_name(manifest.version)}"
    writer.archive.files.replace(name, manifest.model_dump_json().encode())
    return manifest


async def test_an_archive_that_went_back_is_opened_again(writer: Written, reader: Replicated) -> None:
    """An old copy of it, or another epoch: what is derived says nothing of it."""
    writer.say(TEA, created(), posted("hi"))
    await writer.commit()
    reader.follow()
    assert await reader.take_over()
    assert reader.archive.newer(listed=True) is None
    version = writer.archive.manifest.version
    publish(writer, version=version + 1, epoch=Epoch("f"))
    with pytest.raises(LogRegressed, match="archives epoch f now"):
        reader.archive.newer(listed=False)
    (writer.directory / "p00/manifest" / manifest_name(version + 1)).unlink()
    (writer.directory / "p00/manifest" / manifest_name(version)).unlink()
    with pytest.raises(LogRegressed, match="went back"):
        reader.archive.newer(listed=True)
    reader.again()
    assert (reader.archive.cache.position, reader.archive.manifest.hi) == (0, 0)
    for path in (writer.directory / "p00/manifest").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError):
        reader.archive.newer(listed=True)


def test_what_cannot_be_opened(writer: Written, reader: Replicated, tmp_path: Path) -> None:
    """An archive that nobody has begun, or not anew; another system's; a broken one."""
    elsewhere = PartitionReplica(LocalStore(tmp_path / "none"), tmp_path / "c", PARTITION, Epoch("e"))
    with pytest.raises(Unavailable, match="nobody has written"):
        elsewhere.open()
    version = writer.archive.manifest.version + 1
    for epoch, error in (("old", Unavailable), ("foreign", ForeignArchive)):
        publish(writer, version=version, epoch=Epoch(epoch))
        with pytest.raises(error):
            reader.partition().open()
    publish(writer, version=version, hi=StreamSeq(9))
    with pytest.raises(BrokenManifest):
        reader.partition().open()
    with pytest.raises(BrokenManifest):
        reader.archive.newer(listed=False)
