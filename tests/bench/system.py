"""The real system for a benchmark: every process as `parley up` starts it, in a directory of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.data_directory import DataDirectory
from infra.local.lifeline import die_with_parent
from infra.local.run_file import Run
from infra.local.tokens import mint
from infra.nats.permissions import EDGE
from shared.bus import Bus
from shared.errors import ParleyError
from shared.settings import CommonSettings
from tests.bench.report import ROOT

WORKSPACE = "bench"
START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 75.0

UNLIMITED = {
    "PARLEY_CONNECTION_RATE": "100000",
    "PARLEY_CONNECTION_BURST": "100000",
    "PARLEY_USER_RATE": "100000",
    "PARLEY_USER_BURST": "100000",
    "PARLEY_CHANNEL_RATE": "100000",
    "PARLEY_CHANNEL_BURST": "100000",
    "PARLEY_SESSIONS_RATE": "100000",
    "PARLEY_SESSIONS_BURST": "100000",
}
"""The limits are a policy, not what is measured."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the supervisor is started: its module, the first NATS port (0: any), and its own environment."""

    module: str = "infra.local"
    nats_port: int = 0
    env: dict[str, str] = field(default_factory=dict)


LAUNCH = Launch()


class NotStarted(Exception):
    """The system did not become ready; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class System:
    """A running system."""

    directory: DataDirectory
    run: Run

    @property
    def edges(self) -> tuple[str, ...]:
        """The address of each edge."""
        return self.run.edges

    def pid(self, name: str) -> int:
        """The process id of `edge-1`, `nats-1`, `sequencer`, `archiver` …"""
        pid = self.run.process(name).pid
        assert pid is not None, f"{name} is down"
        return pid

    @property
    def nats(self) -> tuple[str, ...]:
        """The names of all NATS servers."""
        return tuple(process.name for process in self.run.processes if process.kind == "nats")

    def token(self, user: str, scopes: Sequence[str] = ()) -> str:
        """A token of the bench's workspace."""
        return mint(self.directory.credentials().jwt, user, workspace=WORKSPACE, scopes=scopes, ttl_s=3600)

    def bus_settings(self) -> CommonSettings:
        """Settings for a bus as an edge has it: nobody else may publish events."""
        return CommonSettings(
            nats_url=self.run.nats_url,
            nats_user=EDGE,
            nats_password=self.directory.credentials().nats[EDGE],
            partitions=self.run.partitions,
            replicas=self.run.replicas,
        )

    def bus(self) -> contextlib.AbstractAsyncContextManager[Bus]:
        """A bus with the rights of an edge."""
        return Bus.connect(self.bus_settings(), "bench")


@contextlib.asynccontextmanager
async def running(
    *,
    edges: int = 1,
    nats: int = 1,
    sequencers: int = 1,
    archivers: int = 1,
    durability: str = "process",
    env: dict[str, str] | None = None,
    root: Path = ROOT,
    scratch: Path | None = None,
    launch: Launch = LAUNCH,
) -> AsyncIterator[System]:
    """Start, wait until everything is ready, and stop in order at the end. Raises `NotStarted`.

    `root`: the tree whose packages run. `scratch`: where the data goes, which stays; else it is deleted.
    """
    with contextlib.ExitStack() as stack:
        if scratch is None:
            temporary = tempfile.TemporaryDirectory(prefix="parley-bench-", ignore_cleanup_errors=True)
            scratch = Path(stack.enter_context(temporary))
        directory = DataDirectory(scratch / "data")
        said = scratch / "said"
        counts = {"edges": edges, "nats": nats, "sequencers": sequencers, "archivers": archivers}
        options = ["--durability", durability]
        options += [part for kind, count in counts.items() for part in (f"--{kind}", str(count))]
        for name, value in (UNLIMITED | (env or {})).items():
            options += [f"--env.{name}", value]
        process = _spawn(directory, said, launch, options, root)
        try:
            yield System(directory, await _ready(directory, process, said))
        finally:
            await _stop(process)


def _spawn(
    directory: DataDirectory, said: Path, launch: Launch, options: Sequence[str], root: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", launch.module, "--data", str(directory.path)]
    command += ["--port", "0", "--nats-port", str(launch.nats_port), *options]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    with said.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=root,
            env=outer | launch.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  # one system call, nothing that locks
        )


async def _ready(directory: DataDirectory, process: subprocess.Popen[bytes], said: Path) -> Run:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_DEADLINE_S
    while process.poll() is None and loop.time() < deadline:
        with contextlib.suppress(ParleyError, OSError):
            run = directory.run()
            if run.state == "ready":
                return run
        await asyncio.sleep(0.05)
    raise NotStarted(said.read_text(errors="replace")[-3000:] or "it said nothing")


async def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.to_thread(process.wait, STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
