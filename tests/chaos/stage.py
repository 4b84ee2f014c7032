"""A small system for one directed fault: who speaks, who listens, and the verdict.

The witnesses are those of `run.py`: the SDK's verifiers, raw readers, the acks, and `parley verify`. They
come from this tree, whatever tree the services run from.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.cli.verify import run_check
from infra.nats.permissions import EDGE
from shared.client import Client, Verifier
from shared.ids import CommandId
from tests.bench.system import UNLIMITED, WORKSPACE, System, running
from tests.chaos.checker import broken, check
from tests.chaos.raw_reader import RawReader
from tests.chaos.testimony import Reading, Record
from tests.support.services import ServiceProcess
from tests.support.waiting import eventually

SETTLE_S = 30.0
"""Everything is heard and archived by then, on a busy machine too: it is due after a second or two."""

PATIENCE_S = 60.0
"""For what only has to happen at all; the machine may be busy."""


QUICK = {"PARLEY_FLUSH_INTERVAL_S": "1", "PARLEY_DRAIN_S": "0.1"}
"""Nobody waits for the archive or for the end longer than needed."""


@dataclass(slots=True)
class Stage:
    """A running system and the people in it."""

    system: System
    tree: Path
    rng: random.Random
    stack: contextlib.AsyncExitStack
    record: Record = field(default_factory=Record)
    readers: list[RawReader] = field(default_factory=list)
    verifiers: list[Verifier] = field(default_factory=list)

    @property
    def readings(self) -> list[Reading]:
        """What the raw readers were told."""
        return [reader.reading for reader in self.readers]

    @property
    def edge(self) -> str:
        """The address of the first edge."""
        return self.system.edges[0]

    async def channels(self, names: Sequence[str], users: Sequence[str]) -> None:
        """Create channels and invite everybody."""
        owner = await self.client("owner", self.edge)
        for name in names:
            await owner.create_channel("public", name, channel=name)
            for user in users:
                await owner.command("invite", name, user=user, role="member")

    async def client(self, user: str, edge: str) -> Client:
        """An SDK client, watched by a verifier."""
        verifier = Verifier(user)
        self.verifiers.append(verifier)
        client = Client(
            edge.replace("http://", "ws://") + "/v1/ws",
            self.system.token(user),
            on_update=verifier.record,
            start="beginning",
        )
        return await self.stack.enter_async_context(client)

    async def reader(self, user: str, edge: str, channels: Sequence[str]) -> RawReader:
        """A raw reader that has begun to follow these channels."""
        dice = random.Random(self.rng.random())
        reader = RawReader(user, [edge], self.system.token(user), dice, self.record.silences)
        self.readers.append(reader)
        task = asyncio.create_task(reader.run())
        self.stack.callback(task.cancel)
        await eventually(lambda: all(reader.follows(name) for name in channels), within_s=PATIENCE_S)
        return reader

    async def say(self, client: Client, channel: str, text: str, *, id_: CommandId | None = None) -> None:
        """Send, and note the ack."""
        self.record.note("speaker", await client.command("send", channel, id=id_, text=text))

    async def edge_through(self, nats_url: str) -> str:
        """One more edge of the same tree, which reaches NATS by another address."""
        credentials = self.system.directory.credentials()
        service = ServiceProcess(
            "edge",
            self.system.directory.logs / "edge-apart.log",
            PYTHONPATH=str(self.tree),
            PYTHONSAFEPATH="1",
            PARLEY_NATS_URL=nats_url,
            PARLEY_NATS_USER=EDGE,
            PARLEY_NATS_PASSWORD=credentials.nats[EDGE],
            PARLEY_JWT_SECRET=credentials.jwt,
            PARLEY_PARTITIONS=str(self.system.run.partitions),
            **UNLIMITED,
        )
        await service.start()
        self.stack.callback(service.kill)
        return f"http://127.0.0.1:{service.port}"

    async def freeze(self, name: str) -> int:
        """Stop a process without ending it; returns its pid when none of its threads runs any more."""
        pid = self.system.pid(name)
        os.kill(pid, signal.SIGSTOP)
        threads = Path(f"/proc/{pid}/task")
        await eventually(lambda: all(_is_stopped(thread) for thread in threads.iterdir()))
        return pid

    async def kill(self, name: str) -> None:
        """End a process at once, and wait until it has been started again."""
        was = self.system.directory.run().process(name).pid
        assert was is not None, f"{name} is down"
        os.kill(was, signal.SIGKILL)
        await eventually(
            lambda: self.system.directory.run().process(name).pid not in {None, was}, within_s=PATIENCE_S
        )

    # ------------------------------------------------------------ the verdict

    async def verdict(self) -> list[str]:
        """Everything that is not as promised, in words."""
        with contextlib.suppress(AssertionError):
            await eventually(
                lambda: broken(self.record, self.readings) or not list(self._behind()), within_s=SETTLE_S
            )
        wrong = [*self._behind(), *map(str, check(self.record, self.readings))]
        try:
            report = await run_check(self.system.directory.path, WORKSPACE, self.verifiers, wait_s=SETTLE_S)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from reading is a finding
            return [*wrong, f"verify: {error!r}"]
        return wrong + [f"verify: {what}" for what in report.named]

    def _behind(self) -> Iterator[str]:
        for channel, head in self.record.heads().items():
            for verifier in self.verifiers:
                seen = verifier.channels.get(channel)
                if seen is not None and seen.last < head:
                    yield f"{verifier.name} stopped at {seen.last} of {channel}, acked is {head}"
            for number, reader in enumerate(self.readers):
                if reader.last(channel) < head:
                    yield f"reader {number} stopped at {reader.last(channel)} of {channel}, acked is {head}"


def _is_stopped(thread: Path) -> bool:
    """Whether it runs no more; one that ends before the signal has come to it does not either."""
    try:
        return (thread / "stat").read_text().rpartition(") ")[2].startswith("T")
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextlib.asynccontextmanager
async def stage(
    tree: Path, seed: int, *, edges: int = 1, env: dict[str, str] | None = None
) -> AsyncIterator[Stage]:
    """The services of a tree, started and stopped."""
    async with (
        running(edges=edges, env=QUICK | (env or {}), root=tree) as system,
        contextlib.AsyncExitStack() as stack,
    ):
        yield Stage(system, tree, random.Random(seed), stack)
