"""One replay from start to proof."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from infra.replay import senders
from infra.replay.receivers import Receiver, until_seen
from infra.replay.rule import BadLine, Line, Rule
from infra.replay.senders import Sent
from shared.client import Client, Verifier

IMPORTER = "replay-importer"
"""Whose name stands in `imported.by`; the same in every run, or a second run would be another body."""

OPEN_WAIT_S = 60.0
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and out of how much."""


@dataclass(slots=True)
class Outcome:
    """What a replay did; `unseen` receivers had not seen everything when the wait was over."""

    sent: Sent
    verifiers: list[Verifier]
    seconds: float
    unseen: int
    delivery_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    """Processor time of this process from the first line to the last delivery."""

    @property
    def rate(self) -> float:
        """Answered lines a second."""
        return self.sent.done / self.seconds if self.seconds else 0.0

    @property
    def good(self) -> bool:
        """Whether every line was recorded and every receiver saw everything, without a fault."""
        faults = sum(verifier.fault_count for verifier in self.verifiers)
        return not (self.sent.refused or self.unseen or faults)


async def replay(
    rule: Rule,
    urls: Sequence[str],
    token_of: Callable[[str, Sequence[str]], str],
    lines: Iterable[Line | BadLine],
    total: int,
    *,
    window: int,
    wait_s: float,
    progress: Progress,
) -> Outcome:
    """Set up the channels, open the receivers, send every line, wait until every receiver has seen it.

    `token_of(user, scopes)` gives tokens. Kills of any service only delay this.
    """
    sent = Sent()
    token = token_of(IMPORTER, ["import"])
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(urls, token, window=window, name="parley-replay-sender"))
            for _ in range(rule.senders)
        ]
        created = 0

        def one_more(count: int) -> None:
            nonlocal created
            created += count
            progress("channels", created, rule.channels)

        await senders.set_up(clients, rule, one_more)
        receivers = await _open_receivers(stack, rule, urls, token_of, progress)
        gc.freeze()  # what is there now stays until the end
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        async with _reporting(lambda: progress("messages", sent.done, total)):
            await senders.send_all(clients, rule.spread(), lines, sent, window=window)
        seconds = time.perf_counter() - started_s
        behind = partial(_show_behind, progress, "deliveries")
        unseen = await until_seen(receivers, sent.heads, wait_s, behind)
        cpu_s = time.process_time() - started_cpu_s
    delivery_s = [latency for receiver in receivers for latency in receiver.delivery_s]
    return Outcome(sent, [receiver.verifier for receiver in receivers], seconds, unseen, delivery_s, cpu_s)


async def _open_receivers(
    stack: contextlib.AsyncExitStack,
    rule: Rule,
    urls: Sequence[str],
    token_of: Callable[[str, Sequence[str]], str],
    progress: Progress,
) -> list[Receiver]:
    receivers: list[Receiver] = []
    for number in range(rule.receivers):
        receiver = Receiver(number, rule, urls, token_of(senders.receiver_name(number), []))
        await stack.enter_async_context(receiver.client)
        receivers.append(receiver)
    await until_seen(receivers, {}, OPEN_WAIT_S, partial(_show_behind, progress, "receivers"))
    return receivers


def _show_behind(progress: Progress, what: str, waiting: int, receivers: int) -> None:
    progress(what, receivers - waiting, receivers)


@contextlib.asynccontextmanager
async def _reporting(report: Callable[[], None]) -> AsyncIterator[None]:
    async def loop() -> None:
        while True:
            report()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        report()
