"""The local system: starts everything, keeps it alive, stops it in order.

Start: all processes at once, for the services need longer to load their code than NATS to start. When
NATS is ready, the streams are created as the operator, so that no service waits for another.
Stop (SIGINT, SIGTERM, SIGHUP): edges, archiver, sequencer, NATS, each within its deadline; a second
signal kills what is left. Nothing acknowledged is lost either way: every child survives kill -9 by
design, the order only saves the clients a detour.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from infra.local import full_disk
from infra.local.child import Child, ChildFailed
from infra.local.data_directory import DataDirectory
from infra.local.log_files import LogFile, follow, last_lines
from infra.local.plan import STOP_ORDER, Plan
from infra.local.run_file import Run, RunningProcess, write_run
from infra.nats.config import write_config
from shared.bus import Bus
from shared.errors import ParleyError
from shared.retry import Deadline
from shared.streams import ensure_streams

START_DEADLINE_S = 60.0
ECHO_S = 1.0
"""`just` and `uv run` pass on a signal that the terminal has already sent to us: not a second wish."""

_LOG_LINES_SHOWN = 15

Say = Callable[[str, str], None]


class Supervisor:
    """Runs one plan in one data directory, whose lock the caller holds."""

    def __init__(
        self, plan: Plan, directory: DataDirectory, partitions: int, *, say: Say, verbose: bool
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._partitions = partitions
        self._say = say
        self._verbose = verbose
        self._state: Literal["starting", "ready", "stopping"] = "starting"
        self._stop_asked = asyncio.Event()
        self._stop_asked_s = 0.0
        self._children = [Child(spec, on_change=self._write_run, say=say) for spec in plan.children]

    async def run(self, on_ready: Callable[[float], None]) -> None:
        """Until a signal asks for the end. Calls `on_ready` with the seconds that the start took.

        Raises `ChildFailed` or another `ParleyError` if it does not start; then nothing is left running.
        """
        began = time.monotonic()
        failure: ParleyError | None = None
        self._write_run()
        files = [LogFile(child.spec.name, child.spec.log) for child in self._children]
        with self._signals():
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(follow(files, self._say, verbose=self._verbose))
                servers = [child for child in self._children if child.spec.kind == "nats"]
                watching = tasks.create_task(full_disk.watch(servers, self._say))
                try:
                    if await self._start(tasks):
                        on_ready(time.monotonic() - began)
                        await self._stop_asked.wait()
                except ParleyError as error:
                    failure = error
                finally:
                    watching.cancel()
                    await self._stop()
                    following.cancel()
        self._directory.run_file.unlink(missing_ok=True)
        if failure is not None:
            raise failure

    async def _start(self, tasks: asyncio.TaskGroup) -> bool:
        """Whether everything became ready before somebody asked to stop."""
        # Not in the group: its failure must not cancel the children, they are to be stopped in order.
        starting = asyncio.ensure_future(self._start_all(tasks))
        asked = asyncio.ensure_future(self._stop_asked.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if starting.done():
            starting.result()
            return True
        starting.cancel()
        await asyncio.wait({starting})
        return False

    async def _start_all(self, tasks: asyncio.TaskGroup) -> None:
        for path, config in self._plan.configs:
            write_config(path, config)
        deadline = Deadline.after(START_DEADLINE_S)
        for child in self._children:
            tasks.create_task(child.run())
        await self._until_ready([child for child in self._children if child.spec.kind == "nats"], deadline)
        await self._create_streams()
        await self._until_ready([child for child in self._children if child.spec.kind != "nats"], deadline)
        self._state = "ready"
        self._write_run()

    async def _until_ready(self, children: list[Child], deadline: Deadline) -> None:
        for child in children:
            try:
                await child.until_ready(deadline)
            except ChildFailed as error:
                said = last_lines(child.spec.log, _LOG_LINES_SHOWN)
                raise ChildFailed(f"{error}\n{child.spec.log}:\n{said}") from None

    async def _create_streams(self) -> None:
        settings = self._directory.settings_of_operator(self._run())
        async with Bus.connect(settings, "supervisor") as bus:
            await ensure_streams(bus, settings)

    async def _stop(self) -> None:
        self._state = "stopping"
        self._write_run()
        for kind in STOP_ORDER:
            await asyncio.gather(*(child.stop() for child in self._children if child.spec.kind == kind))

    def _write_run(self) -> None:
        write_run(self._directory.run_file, self._run())

    def _run(self) -> Run:
        processes = tuple(
            RunningProcess(
                name=child.spec.name,
                kind=child.spec.kind,
                pid=child.pid,
                url=child.spec.url,
                ready_path=child.spec.ready_path,
                restarts=child.restarts,
                partitions=child.spec.partitions,
            )
            for child in self._children
        )
        return Run(
            supervisor=os.getpid(),
            state=self._state,
            nats_url=self._plan.nats_url,
            partitions=self._partitions,
            replicas=self._plan.replicas,
            edges=self._plan.edges,
            page=self._plan.page,
            processes=processes,
        )

    def stop(self) -> None:
        """Ask for the ordered stop; asked a second time, kill what is left."""
        now_s = time.monotonic()
        if not self._stop_asked.is_set():
            self._say("parley", "stops: edges, readers, archiver, sequencer, NATS (once more: at once)")
            self._stop_asked_s = now_s
            self._stop_asked.set()
        elif now_s - self._stop_asked_s > ECHO_S:
            for child in self._children:
                child.kill()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
