"""Health: is this process alive, is it ready for work, and why not (P24).

A service names its components first; it is ready when each of them has reported ok and nobody has asked
it to stop. Readiness is what load balancers and `parley status` look at; liveness only says that the
event loop turns.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_READY = Gauge("parley_ready", "1 when this process takes work, else 0; /readyz says why not.")


@dataclass(frozen=True, slots=True)
class Component:
    """What one part of a service last said about itself."""

    ok: bool
    detail: str


class Health:
    """The state behind /readyz. Components report with `set`; `routes` serves the answers."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._stopping = False

    def expect(self, *components: str) -> None:
        """Name components that have to report ok before the service is ready."""
        for name in components:
            self._components.setdefault(name, Component(ok=False, detail="starting"))
        self._show()

    def set(self, component: str, ok: bool, detail: str = "") -> None:
        """Report on a component; `detail` says what is wrong."""
        self._components[component] = Component(ok, detail)
        self._show()

    def stop(self) -> None:
        """Never ready again: the service drains or stops."""
        self._stopping = True
        self._show()

    @property
    def ready(self) -> bool:
        """Whether the service takes work now."""
        return not self._stopping and bool(self._components) and all(c.ok for c in self._components.values())

    @property
    def reasons(self) -> dict[str, str]:
        """What stands in the way of readiness, by component."""
        if self._stopping:
            return {"service": "stopping"}
        if not self._components:
            return {"service": "starting"}
        return {name: c.detail or "not ok" for name, c in self._components.items() if not c.ok}

    @property
    def routes(self) -> list[Route]:
        """/healthz, /readyz and /metrics, to serve alone or among others."""
        return [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
        ]

    @property
    def app(self) -> Starlette:
        """An ASGI application with nothing but `routes`."""
        return Starlette(routes=self.routes)

    def _show(self) -> None:
        _READY.set(self.ready)

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"alive": True})

    async def _readyz(self, _: Request) -> Response:
        ready = self.ready
        return JSONResponse(
            {"ready": ready, "reasons": self.reasons},
            status_code=200 if ready else 503,
            headers={} if ready else {"Retry-After": "1"},
        )

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
