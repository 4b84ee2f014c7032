"""Heads: about once a second, tell the edges how far the channels are that changed.

An edge whose feed is behind such a head has lost a republished message, and a silent channel would never
show it (any leader change can do that). The edge reads the hole from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from sequencer import metrics
from sequencer.core.ledger import Ledger
from shared.bus import Bus
from shared.errors import Unavailable
from shared.records import Heads
from shared.subjects import heads_subject

CHUNK = 400
"""Heads in one message: under 100 KB with the longest names."""

_log = structlog.get_logger()


async def broadcast(bus: Bus, ledgers: Sequence[Ledger], interval_s: float) -> None:
    """Tell every interval what changed since the last one, for ever."""
    while True:
        await asyncio.sleep(interval_s)
        for ledger in ledgers:
            await _announce(bus, ledger)


async def _announce(bus: Bus, ledger: Ledger) -> None:
    heads = ledger.take_unannounced()
    for start in range(0, len(heads), CHUNK):
        chunk = Heads(heads=tuple(heads[start : start + CHUNK]), epoch=ledger.epoch)
        try:
            await bus.publish(heads_subject(ledger.partition), chunk.model_dump_json().encode())
        except Unavailable as error:
            _log.warning("heads.not_sent", partition=ledger.partition, error=error.message)
            ledger.unannounce(heads[start:])
            return
        metrics.HEADS.inc(len(chunk.heads))
