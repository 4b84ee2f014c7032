"""One writer at a time: versions are taken once, and only dead writers' leftovers are swept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from archiver.core.manifest import BrokenManifest, extended
from archiver.core.segment import SegmentRange
from archiver.manifest_store import MANIFESTS_KEPT, Fenced, ForeignArchive, ManifestStore
from archiver.parquet import write_segment
from shared.archive_files import epochs_set_aside, newest_manifest, pin, scan
from shared.archive_manifest import Manifest, Segment
from shared.archive_rows import row_of
from shared.archive_store import LocalStore
from shared.events import encode
from shared.ids import Epoch, Partition, StreamSeq
from tests.support.archive import created, hot_of, key_of, posted

EPOCH = Epoch("e1")
GRACE_S = 60.0


def store_at(directory: Path) -> ManifestStore:
    """A store of partition 0."""
    return ManifestStore(LocalStore(directory), Partition(0), lambda _: None)


def opened(
    store: ManifestStore, writer: str = "w", epoch: Epoch = EPOCH, replaced: Sequence[Epoch] = ()
) -> Manifest:
    """Take the partition over."""
    return store.open(Partition(0), epoch, replaced, writer, 1)


def written(store: ManifestStore, hi: int, events: int = 3) -> Segment:
    """A segment of some events above `hi`, on the disk but in no manifest."""
    bodies = [encode(created()), *(encode(posted(str(n))) for n in range(events - 1))]
    batch = hot_of(hi, {key_of("tea"): bodies}).cut()
    rows = [row_of(hot.recorded, hot.body) for _, _, found in batch.channels for hot in found]
    return write_segment(store.files, rows, SegmentRange(batch.lo, batch.hi, 0, 0), lambda _: None)


def grown(store: ManifestStore, manifest: Manifest, writer: str = "w") -> Manifest:
    """Commit one more segment."""
    following = extended(manifest, written(store, manifest.hi), 1, writer, 2)
    store.publish(following)
    return following


def test_the_newest_version_is_the_truth(tmp_path: Path) -> None:
    """What was published is read back, and opening takes it over under the next version."""
    store = store_at(tmp_path)
    manifest = grown(store, grown(store, opened(store)))
    assert newest_manifest(tmp_path / "p00") == manifest
    again = opened(store_at(tmp_path), "other")
    assert (again.version, again.hi, again.segments) == (4, 6, manifest.segments)


def test_the_earlier_writer_is_fenced(tmp_path: Path) -> None:
    """After a takeover the earlier writer's next commit fails and changes nothing."""
    early, late = store_at(tmp_path), store_at(tmp_path)
    manifest = grown(early, opened(early, "early"))
    taken = opened(late, "late")
    with pytest.raises(Fenced):
        grown(early, manifest, "early")
    assert newest_manifest(tmp_path / "p00") == taken


def test_a_writer_from_long_ago_is_fenced(tmp_path: Path) -> None:
    """A writer so late that its version has been removed meanwhile does not believe that it committed."""
    early, late = store_at(tmp_path), store_at(tmp_path)
    old = opened(early, "early")
    manifest = opened(late, "late")
    for _ in range(MANIFESTS_KEPT + 1):
        manifest = extended(manifest, manifest_segment(manifest), 1, "late", 2)
        late.publish(manifest)
    late.sweep(manifest, 0, GRACE_S)
    with pytest.raises(Fenced):
        grown(early, old, "early")
    with pytest.raises(Fenced):
        early.sweep(old, 10**18, 0)
    assert newest_manifest(tmp_path / "p00") == manifest


def manifest_segment(manifest: Manifest) -> Segment:
    """An entry for the next event; no file is behind it."""
    where = StreamSeq(manifest.hi + 1)
    return Segment(
        path=f"{where}",
        lo=where,
        hi=where,
        level=0,
        part=0,
        rows=1,
        bytes=1,
        min_key=("a", "b", 1),
        max_key=("a", "b", 1),
        min_us=1,
        max_us=1,
        sha256="",
    )


def test_orphans_go_after_the_grace(tmp_path: Path) -> None:
    """What no manifest names is removed once it is old; what one names, and what is young, stays."""
    store = store_at(tmp_path)
    manifest = grown(store, opened(store))
    live = manifest.segments[0].path
    orphan, young = written(store, 3).path, written(store, 3).path
    data, manifests = tmp_path / "p00" / "data", tmp_path / "p00" / "manifest"
    (data / ".tmp-0011").touch()
    (manifests / ".tmp-2233").touch()
    (data / "README").touch()
    now_us = 2_000_000_000 * 1_000_000
    for path in (*data.iterdir(), *manifests.glob(".tmp-*")):
        os.utime(path, (now_us / 1e6 - 2 * GRACE_S,) * 2)
    os.utime(data / young, (now_us / 1e6,) * 2)
    gone = sorted([f"data/{orphan}", "data/.tmp-0011", "manifest/.tmp-2233"])
    assert sorted(store.sweep(manifest, now_us, GRACE_S)) == gone
    assert sorted(path.name for path in data.iterdir()) == sorted([live, young, "README"])


def test_old_manifests_go(tmp_path: Path) -> None:
    """The directory of manifests does not grow for ever."""
    store = store_at(tmp_path)
    manifest = opened(store)
    for _ in range(MANIFESTS_KEPT + 5):
        manifest = extended(manifest, manifest_segment(manifest), 1, "w", 2)
        store.publish(manifest)
    store.sweep(manifest, 0, GRACE_S)
    assert len(list((tmp_path / "p00" / "manifest").iterdir())) == MANIFESTS_KEPT
    assert newest_manifest(tmp_path / "p00") == manifest


def test_an_archive_of_another_log_is_refused(tmp_path: Path) -> None:
    """If the log's epoch is not the archive's, its numbers mean something else: stop, change nothing."""
    store = store_at(tmp_path)
    manifest = opened(store)
    with pytest.raises(ForeignArchive):
        opened(store, epoch=Epoch("e2"), replaced=[Epoch("e0")])
    assert newest_manifest(tmp_path / "p00") == manifest


def test_an_archive_of_a_replaced_epoch_is_set_aside(tmp_path: Path) -> None:
    """It stays as an archive of its own; the partition goes on in the new epoch, empty."""
    store = store_at(tmp_path)
    old = grown(store, grown(store, opened(store)))
    new = opened(store_at(tmp_path), "next", Epoch("e3"), [EPOCH, Epoch("e2")])
    assert (new.epoch, new.hi, new.segments) == (Epoch("e3"), 0, ())
    assert newest_manifest(tmp_path / "p00") == new
    (aside,) = epochs_set_aside(tmp_path)
    (kept,) = pin(aside).manifests
    assert (kept.epoch, kept.hi, kept.segments) == (EPOCH, old.hi, old.segments)
    store_at(tmp_path).sweep(new, 10**16, 0.0)
    assert len(list(scan(aside))) == 6
    with pytest.raises(Fenced):
        grown(store, old)


def test_setting_aside_can_be_repeated(tmp_path: Path) -> None:
    """A death right before the new epoch's first manifest: the next writer does the same again."""
    store = store_at(tmp_path)
    old = grown(store, opened(store))
    store._set_aside(old)
    opened(store_at(tmp_path), "next", Epoch("e2"), [EPOCH])
    (aside,) = epochs_set_aside(tmp_path)
    assert len(list(scan(aside))) == old.hi


def test_a_broken_manifest_is_refused(tmp_path: Path) -> None:
    """A manifest with a hole is not built upon."""
    store = store_at(tmp_path)
    manifest = opened(store)
    store.publish(manifest.model_copy(update={"version": 2, "hi": 9}))
    with pytest.raises(BrokenManifest):
        opened(store)
