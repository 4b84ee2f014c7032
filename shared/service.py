"""One way to run every service: logs, traces, health, signals, an ordered stop, an exit code.

The stop: SIGTERM or SIGINT sets `stopping` and makes the service not ready; then what was registered
with `on_stop` runs, last in first out; then `until_stopped` returns and `main` unwinds. All of it ends at
one deadline: what still runs then is cancelled. A second signal is that deadline at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import structlog
import uvicorn

from shared import logs, telemetry
from shared.errors import Misconfigured
from shared.health import Health
from shared.http_server import serving
from shared.retry import Deadline
from shared.settings import CommonSettings, S, load

try:
    import uvloop
except ImportError:  # optional: the standard loop does as well
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
"""Restarting does not help: the message says which setting to change."""

GC_THRESHOLDS = (50_000, 20, 100)
_GRACE_S = 2.0
"""What cancelled work may take to unwind."""

_log = structlog.get_logger()


class Service:
    """A running service, as its `main` sees it."""

    def __init__(self, name: str, settings: CommonSettings) -> None:
        self.name = name
        self.settings = settings
        self.stopping = asyncio.Event()
        self.health = Health()
        self._hurry = asyncio.Event()
        self._stopped = asyncio.Event()
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._late: list[asyncio.Future[None]] = []

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Await `callback` when the service stops, before what was registered earlier.

        It begins at once if the others have run already: the stop was asked for while `main` still began.
        """
        if self._stopped.is_set():
            self._late.append(asyncio.ensure_future(callback()))
        else:
            self._callbacks.append(callback)

    def stop(self) -> None:
        """Begin to stop; asked a second time, stop at once."""
        if self.stopping.is_set():
            self._hurry.set()
        self.health.stop()
        self.stopping.set()

    async def until_stopped(self) -> None:
        """Returns when everything in `on_stop` has run: `main` keeps its connections open until then."""
        await self._stopped.wait()

    async def supervise(self, main: Callable[[Service], Awaitable[None]]) -> int:
        """Run `main` to its end or through the ordered stop; the exit code."""
        task = asyncio.ensure_future(main(self))
        stopping = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        asked = self.stopping.is_set()
        _log.info("service.stop_began", asked=asked)
        if not asked:
            self.stop()
        deadline = Deadline.after(self.settings.stop_deadline_s)
        in_order = True
        while self._callbacks:
            step = self._callbacks.pop()
            in_order &= await self._bounded(step(), getattr(step, "__qualname__", repr(step)), deadline)
        self._stopped.set()
        in_order &= await self._bounded(_ended(task), "main", deadline)
        for late in self._late:
            in_order &= await self._bounded(late, "registered while stopping", deadline)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
        return _exit_code(task, in_order=in_order)

    async def _bounded(self, work: Awaitable[None], step: str, deadline: Deadline) -> bool:
        """Whether `work` ended well before the deadline and before a second signal; cancelled if not."""
        task = asyncio.ensure_future(work)
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({task, hurry}, timeout=deadline.left_s, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if task.done():
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None:
                _log.error("service.step_failed", step=step, exc_info=error)
            return error is None
        _log.error("service.step_cancelled", step=step)
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE_S)
        return False


def settings_or_exit(settings: type[S]) -> S:
    """Read settings for `__main__`; ends the process with one line that names every wrong variable."""
    try:
        return load(settings)
    except Misconfigured as error:
        sys.stderr.write(f"{error.message}\n")
        raise SystemExit(EXIT_MISCONFIGURED) from None


async def run_service(
    name: str,
    main: Callable[[Service], Awaitable[None]],
    settings: CommonSettings,
    *,
    serve_health: bool = True,
) -> int:
    """Run `main` as a service of this process; returns the exit code.

    `serve_health=False` is for a service that serves `health.routes` on a port of its own.
    """
    logs.configure(settings, name)
    try:
        flush = telemetry.configure(settings, name)
        service = Service(name, settings)
        with _signals(service):  # first: whoever reads that we have started may stop us
            async with _health_port(service) if serve_health else contextlib.nullcontext():
                code = await service.supervise(main)
        flush()
    except Misconfigured as error:
        _log.error("service.misconfigured", error=error.message)
        code = EXIT_MISCONFIGURED
    _log.info("service.stopped", exit_code=code)
    return code


def run(
    name: str,
    main: Callable[[Service], Awaitable[None]],
    settings: CommonSettings,
    *,
    serve_health: bool = True,
) -> int:
    """`run_service` on a new event loop, uvloop's where it is installed; for `__main__`."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(run_service(name, main, settings, serve_health=serve_health))


def settle_memory() -> None:
    """Call once what lives long is there: looking for garbage then passes over it, and comes less often.

    Without that a twentieth of a reader's time goes into looking at events that are all in use, and an edge
    stops for a second to look at 9,000 connections (measured 2026-11-25).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@contextlib.asynccontextmanager
async def _health_port(service: Service) -> AsyncIterator[None]:
    config = uvicorn.Config(
        service.health.app,
        host=service.settings.metrics_host,
        port=service.settings.metrics_port,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    async with serving(config) as server:
        _log.info("service.started", health=f"http://{config.host}:{server.port}", port=server.port)
        yield


@contextlib.contextmanager
def _signals(service: Service) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _ended(task: asyncio.Future[None]) -> None:
    await asyncio.wait({task})


def _exit_code(task: asyncio.Future[None], *, in_order: bool) -> int:
    if not task.done():
        _log.error("service.hung")
        return EXIT_FAILED
    if task.cancelled():
        _log.error("service.cancelled")
        return EXIT_FAILED
    error = task.exception()
    if (wrong := _misconfigured(error)) is not None:
        _log.error("service.misconfigured", error=wrong.message)
        return EXIT_MISCONFIGURED
    if error is not None:
        _log.error("service.failed", exc_info=error)
        return EXIT_FAILED
    return EXIT_OK if in_order else EXIT_FAILED


def _misconfigured(error: BaseException | None) -> Misconfigured | None:
    """The complaint about a setting, also from inside a task group."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _misconfigured(inner))), None)
    return error if isinstance(error, Misconfigured) else None
