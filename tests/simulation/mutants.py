"""Bugs to plant, each in one function of a core: a simulation that lets one of them live proves nothing."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import edge.core.recording
import edge.fanout
import edge.feed
import edge.publisher
import sequencer.bucket
import shared.archive_store
from archiver import partition
from archiver.core.hot import Batch, Hot
from archiver.core.manifest import extended
from archiver.core.segment import SegmentRange, data_name, describe, segment_name
from archiver.manifest_store import Fenced, ManifestStore
from archiver.partition import PartitionArchive
from edge.core.live import Place, place
from edge.core.recording import Recording
from edge.core.subscriptions import Item, Mode, Replay, Subscription
from edge.feed import Feed
from edge.late_lane import LateLane
from edge.publisher import Publisher
from edge.waiting import Name, Waiting
from sequencer.bucket import Bucket, Outcome, Value, _Known
from sequencer.checkpoints import Checkpoints
from sequencer.core.ledger import Ledger
from sequencer.directory import Directory
from shared.archive_manifest import Manifest, manifest_name
from shared.archive_rows import row_of
from shared.bus import Bus
from shared.envelope import Message, PubAck, StoredMessage
from shared.events import KnownEvent
from shared.ids import Seq, StreamSeq
from shared.puller import Follower, _stored
from shared.records import KnownId
from shared.retry import Deadline
from shared.streams import _ensure, bucket_config
from shared.subjects import kv_subject
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


def _unsynced(path: Path, content: bytes, _: object) -> None:
    with path.open("xb") as file:
        file.write(content)
        if path.parent.name != "data":
            disk.OS.fsync(file)


def _manifest_first(self: PartitionArchive, batch: Batch) -> Manifest:
    rows = [row_of(hot.recorded, hot.body) for _, _, events in batch.channels for hot in events]
    where = SegmentRange(batch.lo, batch.hi, 0, 0)
    name = segment_name(where, secrets.token_hex(4))
    manifest = extended(self.manifest, describe(rows, where, name, 1, ""), batch.hi_us, self._writer, 0)
    self._store.publish(manifest)
    self.files.create(data_name(name), disk.encoded(rows, None))
    self.cache.record(batch.lo, batch.hi, batch.channels)
    return manifest


def _overwriting(self: ManifestStore, manifest: Manifest) -> None:
    name = f"manifest/{manifest_name(manifest.version)}"
    self.files.remove(name)
    self.files.create(name, manifest.model_dump_json().encode())


def _forgetting(folder: str) -> Callable[[Place], None]:
    """Names in a folder are left to the kernel."""

    def sync(directory: Place) -> None:
        if directory.name != folder:
            disk.OS.fsync(directory)

    return sync


async def _unconditional(self: Bucket, value: Value) -> Outcome:
    """Whoever writes last is right."""
    ack = await self._bus.commit(kv_subject(self.name, value.key), value.body, deadline_s=5.0)
    self._remember(value.key, _Known(ack.stream_seq, value.stream_seq, value.epoch), self.incarnation)
    return "written"


async def _position_first(self: Checkpoints, ledgers: Sequence[Ledger]) -> None:
    await self._notice_loss(ledgers)
    round_ = {ledger: ledger.take_unsaved() for ledger in ledgers}
    await self._directory.settled()
    await self._write_positions(round_)
    for ledger, unsaved in round_.items():
        await self._write(ledger, unsaved)


async def _at_once(_: object) -> None:
    """Nobody waits."""


async def _from_one(bus: Bus, bucket: str, *, replicas: int) -> None:
    await _ensure(bus, bucket_config(bucket, replicas=replicas))


async def _without_condition(self: Publisher, feed: Feed, one: Waiting, _: StreamSeq) -> PubAck:
    return await self._commit(feed, one.event, None, one.headers)


_strangers = LateLane._strangers


async def _unread(self: LateLane) -> dict[Name, KnownId] | None:
    return None if await _strangers(self) is None else {}


def _always_fresh(_: Publisher, __: KnownEvent) -> bool:
    return False


class _Endless:
    """A deadline that is never passed."""

    @staticmethod
    def after(_: float) -> Deadline:
        return Deadline(math.inf)


def _believed(known: KnownId, _: KnownEvent) -> Recording:
    return Recording(known.seq, known.at_us, duplicate=True)


async def _as_told(_: Feed, __: Sequence[StoredMessage]) -> None:
    """The checkpoint is as new as it must be."""


def _deaf(self: ManifestStore, manifest: Manifest) -> None:
    with contextlib.suppress(Fenced):
        _publish(self, manifest)


def _not_again(*_: object) -> None:
    """What the cache lacks, it lacks."""


_publish = ManifestStore.publish


def _unlooked(_: ManifestStore, __: Manifest) -> None:
    """No other writer is looked for."""


MUTANTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "gap rule off by one": (edge.feed, "place", _off_by_one),
    "healing off": (Feed, "want", _unhealed),
    "resume from the newest seen": (Subscription, "asked", _newest_seen),
    "a subscription that skips": (Subscription, "offer", _skipping),
    "a ledger that starts one too far": (Ledger, "__init__", _one_too_far),
    "hot events dropped before the manifest": (Hot, "cut", _dropped_early),
    "a follower that trusts its consumer": (Follower, "_receive", _trusting),
    "a segment that is not synced": (shared.archive_store, "_write_synced", _unsynced),
    "a segment whose name is not synced": (shared.archive_store, "_sync_directory", _forgetting("data")),
    "a manifest whose name is not synced": (shared.archive_store, "_sync_directory", _forgetting("manifest")),
    "a manifest before its segment": (PartitionArchive, "write", _manifest_first),
    "a writer that fences nobody": (ManifestStore, "publish", _overwriting),
    "removals unseen": (edge.fanout, "_removed", _nobody),
    "a checkpoint that is believed": (Feed, "_start_behind_trimmed", _as_told),
    "a bucket without conditions": (Bucket, "_put", _unconditional),
    "a position before its checkpoints": (Checkpoints, "save", _position_first),
    "a round that does not wait for the directory": (Directory, "settled", _at_once),
    "revisions that begin anew": (sequencer.bucket, "ensure_bucket", _from_one),
    "late ids left to the window": (Publisher, "is_late", _always_fresh),
    "late ids without a condition": (Publisher, "_commit_waiting", _without_condition),
    "strangers whose ids nobody reads": (LateLane, "_strangers", _unread),
    "a known id taken at its word": (edge.core.recording, "of_known", _believed),
    "a fresh commit that is sent however late": (edge.publisher, "Deadline", _Endless),
    "a keeper that does not hear that it is fenced": (ManifestStore, "publish", _deaf),
    "a cache that is not brought up to its manifest": (partition, "recount", _not_again),
    "a keeper that looks for no other": (ManifestStore, "check_ours", _unlooked),
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
