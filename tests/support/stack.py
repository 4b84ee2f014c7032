"""NATS, sequencer, archiver and edges as real processes with the settings that a test needs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.container import server_for_tests
from tests.support.nats import NatsServer
from tests.support.peer import SECRET
from tests.support.services import ServiceProcess

PARTITIONS = "2"


@dataclass
class Stack:
    """What runs; `url` is the first edge's address."""

    nats: NatsServer
    folder: Path
    sequencer: ServiceProcess
    archiver: ServiceProcess
    edges: list[ServiceProcess] = field(default_factory=list)
    readers: list[ServiceProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of the first edge."""
        return self.address(0)

    def address(self, index: int) -> str:
        """The address of an edge."""
        return f"http://127.0.0.1:{self.edges[index].port}"

    async def add_edge(self, **settings: str) -> ServiceProcess:
        """One more edge, with settings of its own."""
        log = self.folder / f"edge-{len(self.edges)}.log"
        edge = ServiceProcess("edge", log, **_common(self.nats), PARLEY_JWT_SECRET=SECRET, **settings)
        await edge.start()
        self.edges.append(edge)
        return edge

    async def add_reader(self, **settings: str) -> ServiceProcess:
        """A reader of the archive."""
        name = f"reader-{len(self.readers) + 1}"
        own = {
            "PARLEY_ARCHIVE": str(self.folder / "archive"),
            "PARLEY_ARCHIVE_CACHE": str(self.folder / name),
            "PARLEY_ARCHIVER_READER": "true",
        }
        log = self.folder / f"{name}.log"
        reader = ServiceProcess("archiver", log, **_common(self.nats), **(own | settings))
        self.readers.append(reader)
        await reader.start()
        return reader


@contextlib.asynccontextmanager
async def running_stack(folder: Path, *, edges: int = 1, **edge_settings: str) -> AsyncIterator[Stack]:
    """Start everything; kill everything at the end."""
    nats = server_for_tests(folder / "nats")
    nats.start()
    common = _common(nats)
    stack = Stack(
        nats,
        folder,
        ServiceProcess("sequencer", folder / "sequencer.log", **common),
        ServiceProcess(
            "archiver",
            folder / "archiver.log",
            **common,
            PARLEY_ARCHIVE=str(folder / "archive"),
            PARLEY_FLUSH_INTERVAL_S="0.5",
        ),
    )
    try:
        await stack.sequencer.start()
        await stack.archiver.start()
        for _ in range(edges):
            await stack.add_edge(**edge_settings)
        yield stack
    finally:
        for process in (*stack.edges, *stack.readers, stack.archiver, stack.sequencer):
            if process.running:
                process.kill()
        nats.kill()


def _common(nats: NatsServer) -> dict[str, str]:
    return {"PARLEY_NATS_URL": nats.url, "PARLEY_PARTITIONS": PARTITIONS}
