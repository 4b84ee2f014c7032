"""What the product's modules see in place of the loop, the clock and the disk while a simulation runs.

So the real `Feed`, `Delivery`, `Roster` and `PartitionArchive` run here as they are: a sleep ends when the
seed says so, and a process dies between any two changes of its disk.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator

import archiver.core.compaction
import archiver.core.hot
import archiver.manifest_store
import archiver.parquet
import archiver.partition
import archiver.recount
import edge.audience
import edge.breakers
import edge.core.slices
import edge.creation
import edge.delivery
import edge.feed
import edge.group_commit
import edge.late_lane
import edge.publisher
import edge.roster
import edge.trimmed
import edge.turn
import edge.waiting
import sequencer.archive
import sequencer.bucket
import sequencer.checkpoints
import sequencer.core.ledger
import sequencer.directory
import sequencer.restored
import shared.archive_store
import shared.bus
import shared.log_epochs
import shared.puller
import shared.retry
import shared.stream_reads
from shared.events import decode
from tests.simulation import disk
from tests.simulation.archive import Cache
from tests.simulation.bus import COMMIT_DEADLINE_S
from tests.simulation.streams import now_us
from tests.simulation.turns import Condition, Current, Event, gather, nap


class _Silent:
    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


class _Uncounted:
    """In place of metrics."""

    def __getattr__(self, _: str) -> _Uncounted:
        return self

    def __call__(self, *_: object) -> _Uncounted:
        return self


_METRICS = _Uncounted()
_ASYNCIO = types.SimpleNamespace(
    Event=Event, Condition=Condition, gather=gather, sleep=nap, get_running_loop=lambda: Current.works
)
_TIME = types.SimpleNamespace(monotonic=lambda: 0.0)
_CLOCK = types.SimpleNamespace(monotonic=lambda: Current.now_s)
_MEAN = types.SimpleNamespace(uniform=lambda low, high: (low + high) / 2)
_DECODE = functools.lru_cache(4096)(decode)
"""Events are frozen, and every process reads the same ones."""

_LENT: tuple[tuple[types.ModuleType, str, object], ...] = (
    (edge.feed, "asyncio", _ASYNCIO),
    (edge.audience, "asyncio", _ASYNCIO),
    (edge.turn, "asyncio", _ASYNCIO),
    (edge.audience, "time", _TIME),
    (edge.feed, "_log", _Silent()),
    (edge.delivery, "asyncio", _ASYNCIO),
    (edge.delivery, "_log", _Silent()),
    (edge.core.slices, "SLICE_BYTES", 400),
    (edge.roster, "asyncio", _ASYNCIO),
    (edge.roster, "_log", _Silent()),
    (edge.trimmed, "asyncio", _ASYNCIO),
    (edge.creation, "time", _CLOCK),
    (edge.publisher, "now_us", now_us),
    (edge.publisher, "COMMIT_DEADLINE_S", COMMIT_DEADLINE_S),
    (edge.late_lane, "asyncio", _ASYNCIO),
    (edge.late_lane, "BATCH_MIN", 3),
    (edge.late_lane, "FOLLOW_MAX_S", 0.02),
    (edge.breakers, "_log", _Silent()),
    (edge.group_commit, "asyncio", _ASYNCIO),
    (edge.group_commit, "GROUP_MIN", 2),
    (sequencer.archive, "asyncio", _ASYNCIO),
    (sequencer.archive, "_log", _Silent()),
    (sequencer.bucket, "asyncio", _ASYNCIO),
    (sequencer.bucket, "_log", _Silent()),
    (sequencer.checkpoints, "_log", _Silent()),
    (sequencer.directory, "asyncio", _ASYNCIO),
    (sequencer.directory, "_log", _Silent()),
    (sequencer.restored, "_log", _Silent()),
    (shared.bus, "asyncio", _ASYNCIO),
    (shared.log_epochs, "asyncio", _ASYNCIO),
    (shared.bus, "OFFLINE_PATIENCE_S", 0.1),
    (shared.retry, "time", _CLOCK),
    (shared.retry, "random", _MEAN),
    (shared.stream_reads, "asyncio", _ASYNCIO),
    (shared.puller, "_log", _Silent()),
    (shared.archive_store, "os", disk.OS),
    (archiver.manifest_store, "MANIFESTS_KEPT", 2),
    (archiver.parquet, "_encoded", disk.encoded),
    (archiver.parquet, "table_of", disk.as_rows),
    (archiver.recount, "stream_rows", disk.read_rows),
    (archiver.core.compaction, "RUNS_MAX", 2),
    (archiver.partition, "merge_runs", disk.merge_runs),
    (archiver.partition, "Cache", Cache),
    (archiver.partition, "now_us", lambda: int(Current.now_s * 1e6)),
    (archiver.partition, "_log", _Silent()),
    (archiver.core.hot, "decode", _DECODE),
    (edge.feed, "decode", _DECODE),
    (edge.publisher, "decode", _DECODE),
    (sequencer.core.ledger, "decode", _DECODE),
    (edge.feed, "metrics", _METRICS),
    (edge.delivery, "metrics", _METRICS),
    (edge.publisher, "metrics", _METRICS),
    (edge.trimmed, "metrics", _METRICS),
    (edge.audience, "metrics", _METRICS),
    (edge.waiting, "metrics", _METRICS),
    (edge.group_commit, "metrics", _METRICS),
    (edge.breakers, "metrics", _METRICS),
    (sequencer.bucket, "metrics", _METRICS),
    (sequencer.checkpoints, "metrics", _METRICS),
    (sequencer.directory, "metrics", _METRICS),
)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Within this block the edge's modules take their turns from `Current.works`."""
    kept = [(module, name, getattr(module, name)) for module, name, _ in _LENT]
    for module, name, lent in _LENT:
        setattr(module, name, lent)
    try:
        yield
    finally:
        for module, name, own in kept:
            setattr(module, name, own)
