"""What the product's modules see in place of the loop, the clock and the disk while a simulation runs.

So the real `Feed`, `Delivery`, `Roster` and `PartitionArchive` run here as they are: a sleep ends when the
seed says so, and a process dies between any two changes of its disk.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Awaitable, Callable, Iterator

import archiver.manifest_store
import archiver.parquet
import archiver.partition
import edge.audience
import edge.delivery
import edge.feed
import edge.roster
import edge.trimmed
import shared.puller
import shared.stream_reads
from tests.simulation import disk
from tests.simulation.archive import Cache
from tests.simulation.turns import Current, Event, until


def _nap(_: float) -> Awaitable[None]:
    return until()


class _Silent:
    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


_ASYNCIO = types.SimpleNamespace(Event=Event, sleep=_nap, get_running_loop=lambda: Current.works)
_TIME = types.SimpleNamespace(monotonic=lambda: 0.0)
_LENT: tuple[tuple[types.ModuleType, str, object], ...] = (
    (edge.feed, "asyncio", _ASYNCIO),
    (edge.audience, "asyncio", _ASYNCIO),
    (edge.audience, "time", _TIME),
    (edge.feed, "_log", _Silent()),
    (edge.delivery, "asyncio", _ASYNCIO),
    (edge.delivery, "_log", _Silent()),
    (edge.roster, "asyncio", _ASYNCIO),
    (edge.roster, "_log", _Silent()),
    (edge.trimmed, "asyncio", _ASYNCIO),
    (shared.stream_reads, "asyncio", _ASYNCIO),
    (shared.puller, "_log", _Silent()),
    (archiver.parquet, "os", disk.OS),
    (archiver.manifest_store, "os", disk.OS),
    (archiver.parquet, "_encoded", disk.encoded),
    (archiver.parquet, "table_of", disk.as_rows),
    (archiver.partition, "read_rows", disk.read_rows),
    (archiver.partition, "Cache", Cache),
    (archiver.partition, "now_us", lambda: int(Current.works.now_s * 1e6)),
    (archiver.partition, "_log", _Silent()),
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
