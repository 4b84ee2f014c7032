"""The service runner's stop: in order, once, and within its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.errors import Misconfigured, Unavailable
from shared.service import EXIT_FAILED, EXIT_MISCONFIGURED, EXIT_OK, Service
from shared.settings import CommonSettings

Main = Callable[[Service], Awaitable[None]]


@pytest.fixture
def service() -> Service:
    """A service that has two seconds to stop."""
    return Service("test", CommonSettings(stop_deadline_s=2.0))


def noting(notes: list[str], what: str) -> Callable[[], Awaitable[None]]:
    """A step that writes down that it ran."""

    async def step() -> None:
        notes.append(what)

    return step


async def test_the_stop_is_in_reverse_order(service: Service) -> None:
    """What started last stops first, and `main` keeps its connections until all of it has run."""
    notes: list[str] = []

    async def main(service: Service) -> None:
        service.on_stop(noting(notes, "first registered"))
        service.on_stop(noting(notes, "last registered"))
        service.stop()
        await service.until_stopped()
        notes.append("connections closed")

    assert await service.supervise(main) == EXIT_OK
    assert notes == ["last registered", "first registered", "connections closed"]


async def test_a_stop_is_seen_at_once(service: Service) -> None:
    """`stopping` is set and readiness is gone before the first step runs."""
    seen: list[tuple[bool, bool]] = []

    async def look() -> None:
        seen.append((service.stopping.is_set(), service.health.ready))

    async def main(service: Service) -> None:
        service.health.set("bus", True)
        service.on_stop(look)
        service.stop()
        await service.until_stopped()

    await service.supervise(main)
    assert seen == [(True, False)]


async def test_a_stop_during_the_start(service: Service) -> None:
    """What `main` registers after the stop was asked for is begun at once: nobody waits for the deadline."""
    began, asked = asyncio.Event(), asyncio.Event()
    ended = asyncio.Event()

    async def stop() -> None:
        ended.set()

    async def main(_: Service) -> None:
        began.set()
        await asked.wait()
        service.on_stop(stop)
        await ended.wait()

    running = asyncio.ensure_future(service.supervise(main))
    await began.wait()
    service.stop()
    await service.until_stopped()
    asked.set()
    async with asyncio.timeout(30):
        assert await running == 0


async def test_a_main_that_ends_stops_the_service(service: Service) -> None:
    """Work that is finished ends the process with 0, after the steps."""
    notes: list[str] = []

    async def main(service: Service) -> None:
        service.on_stop(noting(notes, "stopped"))

    assert await service.supervise(main) == EXIT_OK
    assert notes == ["stopped"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("bug"), EXIT_FAILED),
        (Unavailable("no NATS"), EXIT_FAILED),
        (Misconfigured("partitions"), EXIT_MISCONFIGURED),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [Misconfigured("x")])]), EXIT_MISCONFIGURED),
        (ExceptionGroup("tasks", [RuntimeError("bug")]), EXIT_FAILED),
    ],
)
async def test_a_main_that_fails_stops_the_service(service: Service, error: Exception, code: int) -> None:
    """A failure runs the steps too, and the exit code tells a wrong setting from the rest."""
    notes: list[str] = []

    async def main(service: Service) -> None:
        service.on_stop(noting(notes, "stopped"))
        raise error

    assert await service.supervise(main) == code
    assert notes == ["stopped"]


@pytest.mark.parametrize("error", [Unavailable("archive"), RuntimeError("bug"), asyncio.CancelledError()])
async def test_a_step_that_fails_does_not_stop_the_stop(service: Service, error: BaseException) -> None:
    """The steps after it still run; the exit code says that something went wrong."""
    notes: list[str] = []

    async def fail() -> None:
        raise error

    async def main(service: Service) -> None:
        service.on_stop(noting(notes, "after"))
        service.on_stop(fail)
        service.stop()
        await service.until_stopped()

    assert await service.supervise(main) == EXIT_FAILED
    assert notes == ["after"]


async def hang() -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


async def hanging_step(service: Service) -> None:
    """A main whose first step never ends."""
    service.on_stop(hang)
    service.stop()
    await service.until_stopped()


async def hanging_main(service: Service) -> None:
    """A main that does not care."""
    service.stop()
    await hang()


@pytest.mark.parametrize("main", [hanging_step, hanging_main])
async def test_the_stop_has_a_deadline(main: Main) -> None:
    """What does not end in time is cancelled: no service outlives its deadline."""
    service = Service("test", CommonSettings(stop_deadline_s=0.05))
    async with asyncio.timeout(30):
        assert await service.supervise(main) == EXIT_FAILED


@pytest.mark.parametrize("main", [hanging_step, hanging_main])
async def test_a_second_signal_is_the_deadline(main: Main) -> None:
    """Who asks twice does not wait."""
    service = Service("test", CommonSettings(stop_deadline_s=600))

    async def asked_twice(service: Service) -> None:
        service.stop()
        await main(service)

    async with asyncio.timeout(30):
        assert await service.supervise(asked_twice) == EXIT_FAILED
