"""What an edge says about itself at /readyz: a connection to NATS, and a JetStream that answers (P24).

A breaker that is open is no reason to send clients away, as long as other logs answer: every edge has the
same logs, so all of them would leave at once. Then a log that nobody has asked yet is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edge.node import Node
from shared.bus import Bus
from shared.errors import Unavailable
from shared.health import Health
from shared.subjects import log_stream

NATS = "nats"
JETSTREAM = "jetstream"
ASKED_MAX = 8
ANSWER_S = 0.5


async def report(node: Node, health: Health) -> None:
    """Look once, and tell."""
    health.set(NATS, node.bus.connected, "not connected to NATS")
    node.breakers.look()
    logs = [log_stream(partition) for partition in node.layout.epochs]
    silent = [log for log in logs if log in node.breakers.silent]
    others = [log for log in logs if log not in silent]
    ok = not silent or await _any_answers(node.bus, others)
    health.set(JETSTREAM, ok, f"{len(silent)} of {len(logs)} logs do not answer")


async def _any_answers(bus: Bus, logs: Sequence[str]) -> bool:
    """Whether JetStream serves one of these."""

    async def answers(log: str) -> bool:
        try:
            await bus.request(f"$JS.API.STREAM.INFO.{log}", b"", timeout_s=ANSWER_S)
        except Unavailable:
            return False
        return True

    return any(await asyncio.gather(*(answers(log) for log in logs[:ASKED_MAX])))
