"""Does what the schedule says to a running system."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from infra.local.probe import readiness
from infra.nats.leaders import leader_of
from shared.bus import Bus
from shared.retry import Deadline
from tests.chaos import disks
from tests.chaos.arena import Arena
from tests.chaos.schedule import NETWORK, Fault, Kind
from tests.chaos.silence import Injury

JUMP_S = (30.0, 1200.0)
WAYS = ("up", "down", "both")
DELAY_S = (0.01, 0.3)
BYTES_PER_S = (1_000, 20_000)
STUTTER_S = (0.1, 0.05)
"""Stopped, running."""
JETSTREAM_BACK_S = 30.0
CALL_S = 5.0
"""A question to JetStream."""
_SIGNALS: dict[Kind, signal.Signals] = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}


class Jumper(Protocol):
    """A client that stamps ids by a clock of its own, wrong by `jump_ms`."""

    jump_ms: int


class Injector:
    """Hurts what is in the arena, and the clocks of these clients."""

    def __init__(self, arena: Arena, jumpers: Sequence[Jumper]) -> None:
        self._system = arena.system
        self._network = arena.network
        self._streams = arena.victims.streams
        self._stores = arena.stores
        self._jumpers = jumpers
        self._frozen: set[int] = set()

    async def hurt(self, fault: Fault) -> Injury | None:
        """Do it, to its end; None if there was nothing to hurt: a victim may still be on its way back."""
        victim = await self._role(fault)
        from_s = time.monotonic()
        done = await self._do(fault)
        return Injury(fault.kind, victim, from_s, time.monotonic()) if done else None

    async def heal(self) -> None:
        """Undo what lasts: everything runs, all paths are calm, all disks have room."""
        for pid in self._frozen:
            _signal(pid, signal.SIGCONT)
        await self._network.calm()
        for store in self._stores.values():
            disks.free(store)
        for one in self._jumpers:
            one.jump_ms = 0

    async def _do(self, fault: Fault) -> bool:
        if fault.kind in NETWORK:
            return await self._disturb(fault)
        match fault.kind:
            case "kill" | "terminate":
                return _signal(self._pid(fault.victim), _SIGNALS[fault.kind])
            case "freeze" | "stutter":
                return await self._stop_and_go(fault.victim, fault)
            case "pause follower":
                return await self._stop_and_go(await self._follower(), fault)
            case "step down" | "step down all":
                streams = [fault.victim] if fault.kind == "step down" else self._streams
                return await self._step_down(streams)
            case "full disk":
                return await self._fill(fault)
            case "slow disk":
                return await self._slow_down(fault)
        return self._jump(fault)

    # ------------------------------------------------------------ processes

    def _pid(self, name: str) -> int | None:
        return self._system.directory.run().process(name).pid

    async def _stop_and_go(self, victim: str, fault: Fault) -> bool:
        """Stopped and running in turn; frozen means stopped once."""
        pid = self._pid(victim)
        if pid is None:
            return False
        stopped_s, runs_s = STUTTER_S if fault.kind == "stutter" else (fault.for_s, 0.0)
        until_s = time.monotonic() + fault.for_s
        self._frozen.add(pid)
        done = False
        while time.monotonic() < until_s and _signal(pid, signal.SIGSTOP):
            await asyncio.sleep(stopped_s)
            done = _signal(pid, signal.SIGCONT)
            await asyncio.sleep(runs_s)
        self._frozen.discard(pid)
        return done

    # ------------------------------------------------------------ leaders

    async def _led(self) -> Counter[str]:
        """How many logs each NATS server leads, as far as they say so in time."""
        led = Counter(dict.fromkeys(self._system.nats, 0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALL_S), self._bus() as bus:
                deadline = Deadline.after(CALL_S)
                calls = (leader_of(bus, stream, deadline) for stream in self._streams)
                found = await asyncio.gather(*calls, return_exceptions=True)
            led.update(name for name in found if isinstance(name, str))
        return led

    async def _follower(self) -> str:
        led = await self._led()
        return min(led, key=lambda name: led[name])

    async def _step_down(self, streams: Sequence[str]) -> bool:
        outcomes: list[object] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALL_S), self._bus() as bus:
                calls = (bus.api(f"STREAM.LEADER.STEPDOWN.{stream}", {}) for stream in streams)
                outcomes += await asyncio.gather(*calls, return_exceptions=True)
        return any(isinstance(outcome, dict) for outcome in outcomes)

    def _bus(self) -> contextlib.AbstractAsyncContextManager[Bus]:
        return Bus.connect(self._system.directory.operator_settings(), "chaos")

    async def _role(self, fault: Fault) -> str:
        """What kind of victim it is: `edge`, `clients>edge`, `nats leader` …"""
        role = fault.victim.rstrip("0123456789").rstrip("-_")
        if role != "nats" or fault.kind not in _SIGNALS:
            return role
        leads = not self._streams or (await self._led())[fault.victim] > 0
        return f"{role} {'leader' if leads else 'follower'}"

    # ------------------------------------------------------------ disks, network, clocks

    async def _fill(self, fault: Fault) -> bool:
        """Fill, wait, give the room back.

        A NATS server that meets a full disk may switch JetStream off until it is started anew. The supervisor
        does that (see infra/README.md); if it has not, we do.
        """
        store = self._stores[fault.victim]
        await asyncio.to_thread(disks.fill, store)
        await asyncio.sleep(fault.for_s)
        disks.free(store)
        if fault.victim in self._system.nats:
            process = self._system.directory.run().process(fault.victim)
            until_s = time.monotonic() + JETSTREAM_BACK_S
            while not (await readiness(process.url, process.ready_path)).ready:
                if time.monotonic() > until_s:
                    _signal(self._pid(fault.victim), signal.SIGTERM)
                    break
                await asyncio.sleep(0.2)
        return True

    async def _slow_down(self, fault: Fault) -> bool:
        pid = self._pid(fault.victim)
        if pid is not None:
            await disks.slow_down(pid, fault.for_s)
        return pid is not None

    async def _disturb(self, fault: Fault) -> bool:
        paths = self._network.of(fault.victim)
        dice = random.Random(fault.dice)
        how: dict[Kind, dict[str, object]] = {
            "half-open": {"way": dice.choice(WAYS)},
            "delay": {"delay_s": dice.uniform(*DELAY_S)},
            "trickle": {"bytes_per_s": dice.randint(*BYTES_PER_S)},
        }
        await self._network.do(fault.kind, paths, **how.get(fault.kind, {}))
        await asyncio.sleep(fault.for_s)
        await self._network.do("calm", paths)
        return bool(paths)

    def _jump(self, fault: Fault) -> bool:
        """Some clocks jump to and fro, the others are right again."""
        dice = random.Random(fault.dice)
        for one in self._jumpers:
            ms = int(dice.uniform(*JUMP_S) * 1000) * dice.choice((-1, 1))
            one.jump_ms = dice.choice((0, ms))
        return True


def _signal(pid: int | None, number: signal.Signals) -> bool:
    """Whether there was somebody to send it to."""
    with contextlib.suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)
            return True
    return False
