"""`python -m edge`: one edge. Run as many as there are cores; they share nothing but NATS."""

from __future__ import annotations

import asyncio
import sys

import structlog

from edge import readiness
from edge.app import application, server_config
from edge.auth import Authenticator
from edge.connections import Connections
from edge.node import Node, assembled
from edge.settings import EdgeSettings
from shared.bus import Bus
from shared.health import Health
from shared.http_server import serving
from shared.service import Service, run, settings_or_exit, settle_memory
from shared.streams import ensure_streams

LOOK_S = 0.5

_log = structlog.get_logger()


async def _main(service: Service, settings: EdgeSettings) -> None:
    auth = Authenticator.of(settings)
    service.health.expect(readiness.NATS, readiness.JETSTREAM, "http")
    async with Bus.connect(settings, "edge") as bus:
        layout = await ensure_streams(bus, settings)
        async with assembled(bus, layout, settings, auth) as node:
            await _serve(service, node)


async def _serve(service: Service, node: Node) -> None:
    connections = Connections(node)
    app = application(node, service.health)
    settings = node.settings
    async with serving(server_config(app, connections, settings), settings.shared_port) as server:
        _log.info(
            "edge.listening", host=settings.host, port=server.port, shared_port=settings.shared_port or None
        )
        service.health.set("http", True)
        service.on_stop(connections.drain)
        if settings.shared_port:
            service.on_stop(connections.let_in)
            service.on_stop(server.leave_shared_port)
        settle_memory()
        async with asyncio.TaskGroup() as group:
            running = (
                group.create_task(connections.tick()),
                group.create_task(_watch(node, service.health)),
            )
            await service.until_stopped()
            for task in running:
                task.cancel()


async def _watch(node: Node, health: Health) -> None:
    """Keep what /readyz says up to date."""
    while True:
        await readiness.report(node, health)
        await asyncio.sleep(LOOK_S)


def main() -> int:
    """Read the settings and run until told to stop; the exit code."""
    settings = settings_or_exit(EdgeSettings)
    return run("edge", lambda service: _main(service, settings), settings, serve_health=False)


if __name__ == "__main__":
    sys.exit(main())
