"""One partition's archive on this machine: manifest, segments, cache and hot events, moved on together.

`open` recovers, `take` adds what the log has next, `commit` makes a segment of what is hot. The order in a
commit is segment, manifest, cache, memory; `DESIGN.md` says what a death between any two of them leaves.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from archiver.cache import Cache
from archiver.core.hot import Batch, Hot, key_of_subject
from archiver.core.manifest import BrokenManifest, extended, ranges
from archiver.core.segment import SegmentRange
from archiver.manifest_store import ManifestStore
from archiver.parquet import read_rows, write_segment
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, Segment, partition_dir
from shared.archive_rows import Row, body_of, row_of
from shared.archive_store import Reached, Store
from shared.bus import StoredMessage
from shared.clock import now_us
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, StreamSeq, WorkspaceId

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
        self.manifest: Manifest
        self.hot: Hot
        self.cache: Cache
        self._replaced = replaced
        self._writer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._store = ManifestStore(archive, partition, reached)
        self.files = self._store.files
        self._cache_path = cache_dir / f"{partition_dir(partition)}.sqlite"
        self._reached = reached

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
        self.manifest = self._store.open(self.partition, self.epoch, self._replaced, self._writer, now_us())
        self.cache = Cache(
            self._cache_path,
            self.epoch,
            self.manifest.hi,
            self._reached,
            lambda: self._store.check_ours(self.manifest),
        )
        self.proof_us = self._newest_us(self.manifest)
        self.hot = Hot(self.manifest.hi)
        behind = self.manifest.hi - self.cache.position
        if behind:
            _log.info("cache.rebuilding", partition=self.partition, events=behind)
            for _, parts in ranges(self.manifest.segments):
                self._recount(parts)

    def take(self, batch: Iterable[StoredMessage]) -> None:
        """Number and fold the log's next messages; their channels are resident."""
        for stored in batch:
            self.hot.add(key_of_subject(stored.subject), stored.stream_seq, stored.at_us, stored.body)

    def write(self, batch: Batch) -> Manifest:
        """Commit a batch: segment, manifest, cache. Raises OSError (try again), `Fenced` (end)."""
        rows = [row_of(hot.recorded, hot.body) for _, _, events in batch.channels for hot in events]
        segment = write_segment(self.files, rows, SegmentRange(batch.lo, batch.hi, 0, 0), self._reached)
        manifest = extended(self.manifest, segment, self._writer, now_us())
        self._store.publish(manifest)
        self.cache.record(batch)
        self._reached("cache-recorded")
        return manifest

    def committed(self, batch: Batch, manifest: Manifest) -> None:
        """Swap to the new manifest and forget what it holds now: one step, so that readers see no seam."""
        self.manifest = manifest
        self.hot.drop(batch)

    def sweep(self, grace_s: float) -> None:
        """Remove orphans and old manifests."""
        orphans = self._store.sweep(self.manifest, now_us(), grace_s)
        if orphans:
            _log.info("orphans.removed", partition=self.partition, files=len(orphans))

    def close(self) -> None:
        """Close the cache."""
        self.cache.close()

    def _newest_us(self, manifest: Manifest) -> int:
        """When the event at a manifest's end happened; 0 if it holds none."""
        ends = [part for part in manifest.segments if part.hi == manifest.hi]
        rows = (row for part in ends for row in read_rows(self.files, part))
        return next((row.ts_us for row in rows if row.stream_seq == manifest.hi), 0)

    def _recount(self, parts: Sequence[Segment]) -> None:
        """Fold a range of segments once more into the cache, from its position on."""
        position = self.cache.position
        if parts[0].hi <= position:
            return
        rows = [row for part in parts for row in read_rows(self.files, part) if row.stream_seq > position]
        rows.sort(key=lambda row: row.stream_seq)
        fresh = Hot(position)
        for key, head in self.cache.heads(_key(row) for row in rows).items():
            fresh.load(key, head)
        for row in rows:
            hot = fresh.add(_key(row), StreamSeq(row.stream_seq), row.ts_us, body_of(row))
            if hot.recorded.seq != row.seq:
                raise BrokenManifest(
                    f"{row.workspace}/{row.channel}: {row.seq} is archived, {hot.recorded.seq} counted"
                )
        self.cache.record(fresh.cut())


def _key(row: Row) -> ChannelKey:
    return ChannelKey(WorkspaceId(row.workspace), ChannelId(row.channel))
