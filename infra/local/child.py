"""One child process, kept alive: started again whenever it ends, stopped within its deadline.

States: new → running ⇄ waiting (it died, the next start is due after a backoff) → stopping → ended. A
child that lived for a while is started again at once; one that keeps dying is started ever more rarely.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from infra.local.lifeline import die_with_parent
from infra.local.plan import ChildSpec
from infra.local.probe import readiness
from shared.errors import Unavailable
from shared.retry import Deadline, delays

STEADY_S = 5.0
"""Whoever lived this long is not in a crash loop."""

EXIT_MISCONFIGURED = 2
FIRST_STARTS_MAX = 3
"""Whoever dies this often before it is ready for the first time will not get there."""

_BACKOFF_FIRST_S = 0.2
_BACKOFF_CAP_S = 5.0
_READY_POLL_S = 0.05


class ChildFailed(Unavailable):
    """A child did not become ready for the first time; the message says which and why."""


class Child:
    """Keeps one process running. `run` it as a task; `on_change` is called when its pid changes."""

    def __init__(
        self, spec: ChildSpec, *, on_change: Callable[[], None], say: Callable[[str, str], None]
    ) -> None:
        self.spec = spec
        self.restarts = 0
        self._on_change = on_change
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._launched = False
        self._ended = asyncio.Event()
        self._last_exit: int | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it is down."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> None:
        """Start the process, and again whenever it ends, until `stop`."""
        self._launched = True
        try:
            await self._keep_running()
        finally:
            self._signal(signal.SIGKILL)
            self._ended.set()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        waits = delays(first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S)
        while not self._stopping.is_set():
            started = loop.time()
            await self._run_once()
            if self._stopping.is_set():
                break
            self.restarts += 1
            self._say(self.spec.name, f"ended ({_how(self._last_exit)}), starts again")
            if loop.time() - started > STEADY_S:
                waits = delays(first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(waits)):
                    await self._stopping.wait()

    async def _run_once(self) -> None:
        self.spec.log.parent.mkdir(parents=True, exist_ok=True)
        with self.spec.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=os.environ | self.spec.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops us in order
                preexec_fn=die_with_parent(),
            )
        self._process = process
        self._on_change()
        if self._stopping.is_set():  # asked to stop while it was being started
            self._signal(signal.SIGTERM)
        self._last_exit = await process.wait()
        self._process = None
        self._on_change()

    async def until_ready(self, deadline: Deadline) -> None:
        """Returns when it says that it is ready; raises `ChildFailed` at the deadline or if it cannot run."""
        while True:
            answer = await readiness(self.spec.url, self.spec.ready_path)
            if answer.ready:
                return
            if self._last_exit == EXIT_MISCONFIGURED:
                raise ChildFailed(f"{self.spec.name} cannot run with these settings")
            if self.restarts >= FIRST_STARTS_MAX:
                raise ChildFailed(f"{self.spec.name} ends as soon as it is started ({_how(self._last_exit)})")
            if deadline.passed:
                raise ChildFailed(f"{self.spec.name} is not ready: {answer.detail}")
            await asyncio.sleep(_READY_POLL_S)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL at the deadline of the spec; returns when it has ended."""
        self._stopping.set()
        if not self._launched:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.spec.stop_deadline_s):
                await self._ended.wait()
        except TimeoutError:
            self._say(self.spec.name, f"did not end within {self.spec.stop_deadline_s:g} s, killed")
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    def renew(self) -> None:
        """SIGTERM, and it is started again; nothing if it is down anyway."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL now; nothing that was acknowledged is lost by it."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Not `send_signal`, which polls, takes the exit code from asyncio's watcher and makes it complain.
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
