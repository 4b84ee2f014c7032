"""Bugs to plant, each in one function of a core: a simulation that lets one of them live proves nothing."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence

import archiver.manifest_store
import archiver.parquet
import edge.fanout
import edge.feed
from archiver.core.hot import Batch, Hot
from archiver.core.manifest import extended
from archiver.core.segment import SegmentRange, describe, segment_name
from archiver.manifest_store import ManifestStore
from archiver.partition import PartitionArchive
from edge.core.live import Place, place
from edge.core.subscriptions import Item, Mode, Replay, Subscription
from edge.feed import Feed
from sequencer.core.ledger import Ledger
from shared.archive_manifest import Manifest, manifest_name
from shared.archive_rows import row_of
from shared.envelope import Message
from shared.ids import Seq, StreamSeq
from shared.puller import Follower, _stored
from tests.simulation import disk


def _off_by_one(mine: StreamSeq, sequence: StreamSeq, last: StreamSeq) -> Place:
    return Place.NEXT if last == mine + 1 else place(mine, sequence, last)


def _unhealed(_: Feed, __: StreamSeq) -> None:
    """Nobody reads the log again."""


def _newest_seen(self: Subscription, after: Seq) -> None:
    self.mode = Mode.REPLAYING
    self.cursor = max(self.cursor, after)
    self.replay = Replay(after)


def _skipping(self: Subscription, items: Sequence[Item], *, writable: bool) -> Sequence[Item]:
    if self.mode is not Mode.LIVE or not items or not writable:
        return ()
    fresh = self._fresh(items)
    self.cursor = fresh[-1].seq if fresh else self.cursor
    return fresh


_begin = Ledger.__init__
_cut = Hot.cut


def _one_too_far(self: Ledger, *arguments: object, **options: object) -> None:
    _begin(self, *arguments, **options)  # type: ignore[arg-type]
    if self.position:
        self.position = StreamSeq(self.position + 1)


def _dropped_early(self: Hot) -> Batch:
    batch = _cut(self)
    self.drop(batch)
    return batch


def _trusting(self: Follower, message: Message) -> None:
    stored = _stored(message)
    if stored.stream_seq >= self._next:
        self._next = StreamSeq(stored.stream_seq + 1)
        self._buffer.append(stored)


def _nobody(_: object) -> dict[object, object]:
    return {}


def _unsynced(path: Place, content: bytes, _: object) -> None:
    with path.open("xb") as file:
        file.write(content)


def _manifest_first(self: PartitionArchive, batch: Batch) -> Manifest:
    rows = [row_of(hot.recorded, hot.body) for _, _, events in batch.channels for hot in events]
    where = SegmentRange(batch.lo, batch.hi, 0, 0)
    name = segment_name(where, secrets.token_hex(4))
    manifest = extended(self.manifest, describe(rows, where, name, 1, ""), self._writer, 0)
    self._store.publish(manifest)
    archiver.parquet.write_durably(self.data / name, disk.encoded(rows, None), lambda _: None)
    self.cache.record(batch)
    return manifest


def _overwriting(self: ManifestStore, manifest: Manifest) -> None:
    path = self._manifests / manifest_name(manifest.version)
    path.unlink(missing_ok=True)
    archiver.manifest_store.write_synced(path, manifest.model_dump_json().encode(), lambda _: None)
    archiver.manifest_store.sync_directory(self._manifests)


def _forgotten(_: object) -> None:
    """Names are left to the kernel."""


MUTANTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "gap rule off by one": (edge.feed, "place", _off_by_one),
    "healing off": (Feed, "want", _unhealed),
    "resume from the newest seen": (Subscription, "asked", _newest_seen),
    "a subscription that skips": (Subscription, "offer", _skipping),
    "a ledger that starts one too far": (Ledger, "__init__", _one_too_far),
    "hot events dropped before the manifest": (Hot, "cut", _dropped_early),
    "a follower that trusts its consumer": (Follower, "_receive", _trusting),
    "a segment that is not synced": (archiver.parquet, "write_synced", _unsynced),
    "a segment whose name is not synced": (archiver.parquet, "sync_directory", _forgotten),
    "a manifest whose name is not synced": (archiver.manifest_store, "sync_directory", _forgotten),
    "a manifest before its segment": (PartitionArchive, "write", _manifest_first),
    "a writer that fences nobody": (ManifestStore, "publish", _overwriting),
    "removals unseen": (edge.fanout, "_removed", _nobody),
}
"""What is planted: where, which name, and what stands there instead."""


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """The bug is there within this block."""
    owner, attribute, bug = MUTANTS[name]
    sound = getattr(owner, attribute)
    setattr(owner, attribute, bug)
    try:
        yield
    finally:
        setattr(owner, attribute, sound)
