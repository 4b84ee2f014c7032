"""One partition's archive on this machine: manifest, segments, cache and hot events, moved on together.

`open` recovers, `take` adds what the log has next, `commit` makes a segment of what is hot. The order in a
commit is segment, manifest, cache, memory; `DESIGN.md` says what a death between any two of them leaves.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from archiver.cache import Cache
from archiver.cached_erasures import newest_text_us
from archiver.core.compaction import Run, runs_of
from archiver.core.hot import Batch, Hot, HotEvent, key_of_subject
from archiver.core.manifest import Grace, compacted, extended, swept
from archiver.core.manifest import emptied as emptied_manifest
from archiver.core.segment import SegmentRange
from archiver.erasing import Emptied, emptied_segment, may_hold
from archiver.manifest_store import ManifestStore
from archiver.merge import merge_runs
from archiver.parquet import stream_rows, write_segment
from archiver.recount import recount
from archiver.set_aside import empty_set_aside
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, Segment, partition_dir
from shared.archive_rows import row_of
from shared.archive_store import Reached, Store
from shared.bus import StoredMessage
from shared.clock import now_us
from shared.erasure import Erasure, Erasures, erasure_of
from shared.events import Recorded
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq

_log = structlog.get_logger()


class End(NamedTuple):
    """The last event of an archive."""

    epoch: Epoch
    stream_seq: StreamSeq
    at_us: int


class PartitionArchive:
    """`take` and `committed` run on the loop; everything else blocks, and runs off it."""

    def __init__(
        self,
        archive: Store,
        cache_dir: Path,
        partition: Partition,
        epoch: Epoch,
        reached: Reached = lambda _: None,
        *,
        replaced: Sequence[Epoch] = (),
    ) -> None:
        self.partition = partition
        self.epoch = epoch
        self.proof_us = 0
        """The time of the newest event in Parquet: the log must hold that one there."""
        self.erasures = Erasures()
        """What the log says is to be erased, and is not yet in Parquet."""
        self.erased_us = 0
        """When the newest of those texts was recorded, or of what has been erased since: not later."""
        self.publishing = asyncio.Lock()
        """Whoever makes the next version of the manifest holds it until `manifest` is that one."""
        self.hot: Hot
        self.cache: Cache
        self.listed: Callable[[], None] = lambda: None
        """Called whenever the manifest is another one."""
        self.taken: Callable[[], None] = lambda: None
        """Called whenever the log was taken further."""
        self._replaced = replaced
        self._writer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._store = ManifestStore(archive, partition, reached)
        self.files = self._store.files
        self._cache_path = cache_dir / f"{partition_dir(partition)}.sqlite"
        self._reached = reached

    @property
    def manifest(self) -> Manifest:
        """What is in Parquet, as of now."""
        return self._manifest

    @manifest.setter
    def manifest(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.listed()

    def found(self) -> End | None:
        """Where the archive ends that is there, whoever writes it; None if there is none."""
        manifest = newest_manifest(self.files)
        if manifest is None:
            return None
        return End(manifest.epoch, manifest.hi, self._newest_us(manifest))

    def open(self) -> None:
        """Become the writer, and bring the cache up to the manifest.

        What `replaced` epochs left is set aside. Raises `Fenced`, `BrokenManifest` or `ForeignArchive`.
        """
        manifest = self._store.open(self.partition, self.epoch, self._replaced, self._writer, now_us())
        self._begin(manifest, lambda: self._store.check_ours(manifest))
        self._catch_up()

    def _begin(self, manifest: Manifest, still_ours: Callable[[], None] = lambda: None) -> None:
        """What is known at a manifest's end, but for what the cache lacks."""
        self.manifest = manifest
        self.cache = Cache(self._cache_path, self.epoch, manifest.hi, self._reached, still_ours)
        self.proof_us = self._newest_us(manifest)
        self.hot = Hot(manifest.hi)

    def _catch_up(self) -> None:
        """Bring the cache up to the manifest, from its segments."""
        behind = self.manifest.hi - self.cache.position
        if behind:
            _log.info("cache.rebuilding", partition=self.partition, events=behind)
            for run in runs_of(self.manifest.segments):
                recount(self.files, run, self.cache)
        pending, self.erased_us = self.cache.erasures(self.manifest.erased)
        self.erasures = Erasures(pending)

    def take(self, batch: Iterable[StoredMessage]) -> None:
        """Number and fold the log's next messages; their channels are resident."""
        for stored in batch:
            hot = self.hot.add(key_of_subject(stored.subject), stored.stream_seq, stored.at_us, stored.body)
            if (erasure := erasure_of(hot.recorded)) is not None:
                self._to_erase(erasure, hot.recorded)
        self.taken()

    def _to_erase(self, erasure: Erasure, by: Recorded) -> None:
        self.erasures.add(erasure)
        unarchived = () if erasure.expired is None else self.hot.between(erasure.key, Seq(1), by.seq)
        newest_us = newest_text_us(erasure, by.at_us, (it.recorded for it in unarchived))
        self.erased_us = max(self.erased_us, newest_us)

    def shown(self, recorded: Recorded, body: bytes) -> tuple[Recorded, bytes]:
        """An event as it may be shown and stored: without its text, if that is to be erased."""
        return self.erasures.shown(recorded, body)

    def write(self, batch: Batch) -> Manifest:
        """Commit a batch: segment, manifest, cache. Raises OSError (try again), `Fenced` (end)."""
        channels = [(key, head, self._left(key, events)) for key, head, events in batch.channels]
        rows = [row_of(hot.recorded, hot.body) for _, _, events in channels for hot in events]
        segment = write_segment(self.files, rows, SegmentRange(batch.lo, batch.hi, 0, 0), self._reached)
        manifest = extended(self.manifest, segment, batch.hi_us, self._writer, now_us())
        self._store.publish(manifest)
        self.cache.record(batch.lo, batch.hi, channels)
        self._reached("cache-recorded")
        return manifest

    def merge(self, runs: Sequence[Run], stopped: Callable[[], bool]) -> list[Segment]:
        """Write what takes the place of these runs. Raises OSError (try again) and `Stopped`."""
        return merge_runs(self.files, runs, self._reached, stopped)

    def publish_merge(self, inputs: Sequence[Segment], outputs: Sequence[Segment]) -> Manifest:
        """Let the outputs stand for the inputs. Raises OSError, `Fenced` and `BrokenManifest`."""
        manifest = compacted(self.manifest, inputs, outputs, self._writer, now_us())
        self._reached("merge-written")
        self._store.publish(manifest)
        self.cache.join_runs(outputs[0].lo, outputs[0].hi)
        self._reached("merge-published")
        return manifest

    def committed(self, batch: Batch, manifest: Manifest) -> None:
        """Swap to the new manifest and forget what it holds now: one step, so that readers see no seam."""
        self.manifest = manifest
        self.proof_us = manifest.hi_us
        self.hot.drop(batch)

    def erase(self, erasures: Erasures) -> dict[Segment, Emptied]:
        """Write what takes the place of the segments that hold such texts. Raises OSError (try again).

        What was set aside is done with when this returns.
        """
        found: dict[Segment, Emptied] = {}
        for segment in self.manifest.segments:
            concerned = Erasures(erasure for erasure in erasures if may_hold(segment, erasure))
            if concerned and (emptied := emptied_segment(self.files, segment, concerned, self._reached)):
                found[segment] = emptied
        empty_set_aside(
            self._store.set_aside(),
            self.files,
            self.manifest,
            erasures,
            self._writer,
            now_us(),
            self._reached,
        )
        return found

    def publish_erasures(self, erased: StreamSeq, found: Mapping[Segment, Emptied]) -> Manifest:
        """Whatever events up to `erased` erase has no text in Parquet any more, nor in the cache."""
        replaced = {segment: emptied.segment for segment, emptied in found.items()}
        manifest = emptied_manifest(self.manifest, replaced, erased, self._writer, now_us())
        self._reached("erasure-written")
        newest_us = max((emptied.newest_us for emptied in found.values()), default=0)
        names = (name for emptied in found.values() for name in emptied.names)
        self.cache.forget_bodies(names, erased, newest_us)
        self.erased_us = max(self.erased_us, newest_us)
        self._store.publish(manifest)
        self._reached("erasure-published")
        return manifest

    def sweep(self, grace: Grace) -> Manifest:
        """Remove old manifests, orphans, and what was replaced longer ago than any reader reads."""
        now, old = now_us(), self.manifest
        manifest = swept(old, grace, self._writer, now) or old
        if manifest is not old:
            self._store.publish(manifest)
        released = {gone.path for gone in old.retired} - {gone.path for gone in manifest.retired}
        removed = self._store.sweep(manifest, now, grace.any_us / 1e6, released)
        if removed:
            _log.info("files.removed", partition=self.partition, files=len(removed))
        return manifest

    def close(self) -> None:
        """Close the cache."""
        self.cache.close()

    def erased(self, manifest: Manifest) -> None:
        """Swap to a manifest in which some erasures have been carried out."""
        self.manifest = manifest
        self.erasures = Erasures(one for one in self.erasures if one.stream_seq > manifest.erased)

    def _left(self, key: ChannelKey, events: Sequence[HotEvent]) -> Sequence[HotEvent]:
        """A channel's events without the texts that are to be erased: nothing else may reach a file."""
        if key not in self.erasures:
            return events
        return [HotEvent(*self.shown(hot.recorded, hot.body), hot.messages) for hot in events]

    def _newest_us(self, manifest: Manifest) -> int:
        """When the event at a manifest's end happened; 0 if it holds none. The first archives did not say."""
        if manifest.hi_us:
            return manifest.hi_us
        ends = [part for part in manifest.segments if part.hi == manifest.hi]
        rows = (row for part in ends for row in stream_rows(self.files, part))
        return next((row.ts_us for row in rows if row.stream_seq == manifest.hi), 0)
