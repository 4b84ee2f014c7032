"""A supervisor in the test's own process, with NATS servers and no services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from infra.local.credentials import load_or_create
from infra.local.data_directory import DataDirectory
from infra.local.options import Options
from infra.local.plan import Plan, plan
from infra.local.run_file import Run
from infra.local.supervisor import Supervisor
from infra.local.system import choose_ports
from infra.nats.binary import nats_server_binary


def nats_plan(directory: DataDirectory, *, nats: int = 1) -> Plan:
    """A system of NATS servers without services."""
    options = Options(data=directory.path, nats=nats, nats_port=0, port=0, partitions=2, durability="process")  # type: ignore[arg-type]
    credentials = load_or_create(directory.credentials_file)
    planned = plan(options, directory, credentials, choose_ports(options), nats_server_binary())
    return replace(planned, children=tuple(child for child in planned.children if child.kind == "nats"))


@asynccontextmanager
async def supervised(planned: Plan, directory: DataDirectory) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    """A supervisor that is ready, and what it says."""
    said: list[str] = []
    ready = asyncio.Event()
    supervisor = Supervisor(
        planned, directory, partitions=2, say=lambda name, text: said.append(f"{name} {text}"), verbose=False
    )
    running = asyncio.ensure_future(supervisor.run(lambda _: ready.set()))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({running, waiting}, timeout=40, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
    yield supervisor, said
    supervisor.stop()
    async with asyncio.timeout(30):
        await running


def run_of(directory: DataDirectory) -> Run:
    """What the run file says."""
    return Run.model_validate_json(directory.run_file.read_bytes())
