"""One run: the system, the load, the faults, and the proof.

Judged by four witnesses that share little: the SDK's verifiers, raw readers that share no code with it, the
acks that the speakers were given, and `parley verify` (clients = log = archive = checkpoints).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from infra.cli.verify import run_check
from shared.bus import Bus, BusError
from shared.client import Client, Verifier
from shared.errors import Unavailable
from shared.ids import Partition
from shared.subjects import log_stream
from tests.bench.system import UNLIMITED, WORKSPACE, System, running
from tests.chaos.load import SPEAKERS, Record, Revolving, Speaker, channels, set_up, speaker
from tests.chaos.raw_reader import RawReader
from tests.chaos.schedule import Fault, schedule
from tests.support.waiting import eventually

READERS = 4
SETTLE_S = 60.0
SILENCE_WINDOW_S = 5.0
VICTIMS = ("edge-1", "edge-2", "sequencer", "archiver", "nats-1")
OTHER_SERVERS = ("nats-2", "nats-3")
PARTITIONS = 8
_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "freeze": signal.SIGSTOP}


@dataclass(slots=True)
class Outcome:
    """What was done and what is wrong; `recovered_s`: per kind, until every speaker was answered again."""

    faults: list[Fault]
    acked: int
    events: int
    sessions: int
    turns: int
    wrong: list[str]
    recovered_s: dict[str, list[float]] = field(default_factory=dict)


async def run(seed: int, seconds: float, say: Callable[[str], None], *, cluster: bool = False) -> Outcome:
    """Run it; every wrong thing is in the outcome, nothing is raised for it.

    `cluster`: three NATS servers, mode `quorum`, and leaders that step down as well.
    """
    rng = random.Random(seed)
    streams = [log_stream(Partition(number)) for number in range(PARTITIONS)]
    if cluster:
        faults = schedule(seed, seconds, VICTIMS + OTHER_SERVERS, streams)
        starting = running(edges=2, nats=3, durability="quorum", env=UNLIMITED)
    else:
        faults = schedule(seed, seconds, VICTIMS)
        starting = running(edges=2, env=UNLIMITED)
    async with starting as system, contextlib.AsyncExitStack() as stack:
        record = Record()
        revolving = Revolving(random.Random(rng.random()))
        readers = [_reader(system, number, rng) for number in range(READERS)]
        users = [*map(speaker, range(SPEAKERS)), *map(_reader_name, range(READERS))]
        owner = await stack.enter_async_context(_client(system, "owner", Verifier("owner")))
        await set_up(owner, users)
        speakers = [await _speaker(stack, system, number, record, rng) for number in range(SPEAKERS)]
        comer = Client(_urls(system), system.token("comer"), on_update=revolving.take, start="beginning")
        await stack.enter_async_context(comer)
        reading = [asyncio.create_task(reader.run()) for reader in readers]
        await eventually(lambda: all(one.follows(c) for one in readers for c in channels()), within_s=30)
        over = asyncio.Event()
        quiet = [channel for channel in channels() if channel.startswith("quiet")]
        shares = [quiet[number::SPEAKERS] for number in range(SPEAKERS)]
        acting = [
            asyncio.create_task(one.run(share, over.is_set))
            for one, share in zip(speakers, shares, strict=True)
        ]
        acting.append(asyncio.create_task(revolving.run(comer, over.is_set)))
        recovered = await _break(system, faults, record, say)
        over.set()
        await asyncio.gather(*acting)
        wrong = [*record.duplicates, *(f"comer saw {leak}" for leak in revolving.leaks)]
        wrong += await _judge(system, record, speakers, readers)
        for task in reading:
            task.cancel()
        events = sum(reader.events for reader in readers) + sum(one.verifier.events for one in speakers)
        sessions = sum(reader.sessions for reader in readers)
        return Outcome(faults, len(record.acked), events, sessions, revolving.turns, wrong, recovered)


# ---------------------------------------------------------------- the faults


async def _break(
    system: System, faults: Sequence[Fault], record: Record, say: Callable[[str], None]
) -> dict[str, list[float]]:
    began_s = time.monotonic()
    hurt: list[tuple[Fault, float]] = []
    for fault in faults:
        await asyncio.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
        say(str(fault))
        if await _hurt(system, fault):
            hurt.append((fault, time.monotonic() - fault.for_s))
    await asyncio.sleep(SILENCE_WINDOW_S)
    recovered: dict[str, list[float]] = {}
    for fault, at_s in hurt:
        what = fault.kind if fault.kind == "step down" else f"{fault.kind} {fault.victim}"
        recovered.setdefault(what, []).append(_silence(record.ack_at_s, at_s))
    return recovered


async def _hurt(system: System, fault: Fault) -> bool:
    """Do it; whether there was something to hurt: a victim may still be on its way back."""
    if fault.kind == "step down":
        async with Bus.connect(system.directory.operator_settings(), "chaos") as bus:
            try:
                await bus.api(f"STREAM.LEADER.STEPDOWN.{fault.victim}", {})
            except (BusError, Unavailable):
                return False
        return True
    pid = system.directory.run().process(fault.victim).pid
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, _SIGNALS[fault.kind])
        if fault.kind == "freeze":
            await asyncio.sleep(fault.for_s)
            os.kill(pid, signal.SIGCONT)
    return True


def _silence(acks_s: Sequence[float], at_s: float) -> float:
    """The longest time without any ack that began soon after a fault."""
    after = [at_s, *(ack_s for ack_s in acks_s if ack_s >= at_s)]
    pairs = itertools.takewhile(lambda pair: pair[0] <= at_s + SILENCE_WINDOW_S, itertools.pairwise(after))
    return max((later - earlier for earlier, later in pairs), default=SILENCE_WINDOW_S)


# ---------------------------------------------------------------- judging


async def _judge(
    system: System, record: Record, speakers: Sequence[Speaker], readers: Sequence[RawReader]
) -> list[str]:
    """Everything that is not as promised, in words."""
    wrong = [f"{code} refused {count} times" for code, count in record.refused.items() if code in _NEVER]
    heads = record.heads()
    deadline_s = time.monotonic() + SETTLE_S
    while behind := list(_behind(heads, speakers, readers)):
        if time.monotonic() > deadline_s:
            wrong += behind[:10]
            break
        await asyncio.sleep(0.1)
    for one in speakers:
        wrong += [f"{one.verifier.name}: {fault}" for fault in one.verifier.faults]
    for number, reader in enumerate(readers):
        wrong += [f"raw reader {number}: {breach}" for breach in reader.breaches]
        wrong += [f"raw reader {number}: {what}" for what in _contradictions(record, reader)]
    report = await run_check(
        system.directory.path, WORKSPACE, [one.verifier for one in speakers], wait_s=SETTLE_S
    )
    return wrong + [str(what) for what in report.named]


_NEVER = frozenset({"internal", "conflict", "clock_skew"})
"""Refusals that nothing in the load can deserve."""


def _behind(
    heads: dict[str, int], speakers: Sequence[Speaker], readers: Sequence[RawReader]
) -> Iterator[str]:
    for channel, head in heads.items():
        for one in speakers:
            seen = one.verifier.channels.get(channel)
            if seen is None or seen.last < head:
                yield f"{one.verifier.name} has not seen {channel} up to {head}"
        for number, reader in enumerate(readers):
            if reader.last(channel) < head:
                yield f"raw reader {number} is at {reader.last(channel)} of {channel}, acked is {head}"


def _contradictions(record: Record, reader: RawReader) -> Iterator[str]:
    """Acked ids that the reader did not see where the ack says, and ids that it saw twice."""
    for id_, (channel, seq) in record.acked.items():
        seen = reader.ids.get(channel, {}).get(seq)
        if seen != id_:
            yield f"{channel} #{seq} is {seen}, acked was {id_}"
    counts = Counter(id_ for ids in reader.ids.values() for id_ in ids.values())
    yield from (f"{id_} stands {count} times" for id_, count in counts.items() if count > 1)


# ---------------------------------------------------------------- who is there


def _urls(system: System) -> list[str]:
    return [url.replace("http://", "ws://") + "/v1/ws" for url in system.edges]


def _client(system: System, user: str, verifier: Verifier) -> Client:
    return Client(
        _urls(system), system.token(user), on_update=verifier.record, start="beginning", name="parley-chaos"
    )


async def _speaker(
    stack: contextlib.AsyncExitStack, system: System, number: int, record: Record, rng: random.Random
) -> Speaker:
    verifier = Verifier(speaker(number))
    client = await stack.enter_async_context(_client(system, speaker(number), verifier))
    return Speaker(client, verifier, record, random.Random(rng.random()))


def _reader_name(number: int) -> str:
    return f"reader-{number}"


def _reader(system: System, number: int, rng: random.Random) -> RawReader:
    return RawReader(system.edges, system.token(_reader_name(number)), random.Random(rng.random()))
