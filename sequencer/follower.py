"""Following one partition: its log into its ledger, the ledger's changes into the directory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sequencer import metrics
from sequencer.core.belongings import entries
from sequencer.core.ledger import Change, Ledger
from sequencer.directory import Directory
from shared.bus import Bus, StoredMessage
from shared.clock import now_us
from shared.health import Health
from shared.ids import StreamSeq
from shared.puller import Follower
from shared.subjects import log_stream

LINGER_S = 0.1
"""Nobody waits for the sequencer: a batch costs as much as ten events, so it had better hold some."""


async def follow(bus: Bus, ledger: Ledger, directory: Directory, health: Health) -> None:
    """Fold the log from the ledger's position on, for ever.

    Healthy from the moment at which it has read what the log held at the beginning. Raises `LogRegressed`.
    """
    stream = log_stream(ledger.partition)
    end = await _end(bus, stream)
    _report(ledger, end, health)
    start = StreamSeq(ledger.position + 1)
    async with Follower(bus, stream, start, linger_s=LINGER_S, proof_us=ledger.at_us) as follower:
        async for batch in follower:
            for change in _fold(ledger, batch):
                directory.add(entries(change))
            _report(ledger, end, health)
            await directory.room()
            await asyncio.sleep(0)  # the other partitions' turn


def _fold(ledger: Ledger, batch: Sequence[StoredMessage]) -> list[Change]:
    strays, skipped = ledger.strays, ledger.skipped
    changes = ledger.fold(batch)
    void = sum(change.recorded.void is not None for change in changes)
    for verdict, count in (
        ("valid", len(changes) - void),
        ("void", void),
        ("stray", ledger.strays - strays),
        ("skipped", ledger.skipped - skipped),
    ):
        metrics.EVENTS.labels(ledger.partition, verdict).inc(count)
    metrics.LAG_S.labels(ledger.partition).set(max(0.0, (now_us() - ledger.at_us) / 1e6))
    return changes


def _report(ledger: Ledger, end: StreamSeq, health: Health) -> None:
    metrics.POSITION.labels(ledger.partition).set(ledger.position)
    metrics.CHANNELS.labels(ledger.partition).set(len(ledger))
    behind = end - ledger.position
    health.set(log_stream(ledger.partition), behind <= 0, f"{behind} log entries to read")


async def _end(bus: Bus, stream: str) -> StreamSeq:
    info = await bus.api(f"STREAM.INFO.{stream}", {})
    state = info["state"]
    assert isinstance(state, dict)
    return StreamSeq(state["last_seq"])
