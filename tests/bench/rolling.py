"""`rolling`: the longest silence of any client while processes are restarted one after another, and killed.

The real cluster (three NATS servers, two sequencers, two archivers, three edges) under a steady conversation.
Per case: what is restarted with `parley restart`, or which leader is killed; the figure is the longest time
that any one of the clients went without an ack or without a delivery. Fails if anything is lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter

from infra.cli.verify import run_check
from infra.local.replacement import ready_again
from infra.nats.handover import all_settled, leaders_of
from shared.bus import Bus
from shared.retry import Deadline
from tests.bench.report import ROOT, Figure
from tests.bench.system import WORKSPACE, System, running
from tests.support.steady import Conversation, channel_of, conversing

NAME = "rolling"
CLIENTS = 12
GRACEFUL_MAX_S = 2.5
KILLED_MAX_S = 10.0
KINDS = ("edge", "sequencer", "archiver", "nats")
AFTERMATH = 30
"""Messages of each client after the last process is back: what its absence still causes belongs to it."""

DEADLINE_S = 120.0


async def measure(repetitions: int) -> list[Figure]:
    """The longest silence of any client, per case. Raises AssertionError if anything was lost."""
    async with running(edges=3, nats=3, sequencers=2, archivers=2, durability="quorum") as system:
        tokens = [system.token(channel_of(number)) for number in range(CLIENTS)]
        async with conversing(sockets(system), tokens) as conversation:
            figures = [await _restarts(system, conversation, kind, repetitions) for kind in KINDS]
            figures.append(await _kills(system, conversation, repetitions))
            await conversation.end()
            await prove(system, conversation)
        return figures


def sockets(system: System) -> list[str]:
    """The WebSocket address of every edge."""
    return [url.replace("http://", "ws://") + "/v1/ws" for url in system.edges]


async def _restarts(system: System, conversation: Conversation, kind: str, repetitions: int) -> Figure:
    worst_s = 0.0
    for _ in range(repetitions):
        conversation.forget()
        await restart(system, kind)
        worst_s = max(worst_s, await _silence_s(conversation, kind))
    return _figure(f"rolling restart: {kind}", worst_s, repetitions, GRACEFUL_MAX_S)


async def _kills(system: System, conversation: Conversation, repetitions: int) -> Figure:
    worst_s = 0.0
    for _ in range(repetitions):
        conversation.forget()
        await kill_a_leader(system)
        worst_s = max(worst_s, await _silence_s(conversation, "kill -9"))
    return _figure("kill -9: nats leader", worst_s, repetitions, KILLED_MAX_S)


def _figure(case: str, worst_s: float, repetitions: int, target: float) -> Figure:
    return Figure(NAME, case, "longest silence", "s", worst_s, repetitions, target=target)


async def _silence_s(conversation: Conversation, what: str) -> float:
    await conversation.goes_on(AFTERMATH)
    silences_s = conversation.silences_s()
    print(f"{what}: " + " ".join(f"{s:.2f}" for s in silences_s.values()), file=sys.stderr, flush=True)
    return max(silences_s.values())


async def restart(system: System, *names: str) -> None:
    """`parley restart`, as a person would."""
    command = ["-c", "from infra.cli import main; main()", "restart", *names]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--data", str(system.directory.path), cwd=ROOT, stdout=sys.stderr
    )
    assert await process.wait() == 0, f"parley restart {' '.join(names)} failed"


async def kill_a_leader(system: System) -> None:
    """SIGKILL for the server that leads most; returns when it is back and every copy is current."""
    partitions = system.run.partitions
    async with Bus.connect(system.directory.operator_settings(), "bench") as bus:
        leaders = await leaders_of(bus, partitions, DEADLINE_S)
        (victim, _), *_ = Counter(leaders.values()).most_common()
        before = system.directory.run().process(victim)
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        deadline = Deadline.after(DEADLINE_S)
        await ready_again(system.directory, before, deadline)
        await all_settled(bus, partitions, deadline)


async def prove(system: System, conversation: Conversation) -> None:
    """Every ack is in the log once, every client has seen all of it, and `verify` finds no difference."""
    for one in conversation.clients:
        assert not one.verifier.faults, one.verifier.faults
        assert len(set(one.acked)) == len(one.acked), f"{one.name}: a number was acked twice"
    verifiers = [one.verifier for one in conversation.clients]
    report = await run_check(system.directory.path, WORKSPACE, verifiers, wait_s=60.0)
    assert report.clean, report.named
