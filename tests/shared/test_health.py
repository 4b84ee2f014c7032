"""Health: ready means that every part said so; the endpoints say why not (P24)."""

from __future__ import annotations

import pytest
from httpx import ASGITransport, AsyncClient, Response

from shared.health import Health


async def get(health: Health, path: str) -> Response:
    """What the health application answers."""
    async with AsyncClient(transport=ASGITransport(app=health.app), base_url="http://test") as client:
        return await client.get(path)


async def test_nobody_is_ready_before_anything_started() -> None:
    """A service without a word from any part is not ready, but alive."""
    health = Health()
    ready = await get(health, "/readyz")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
    assert ready.json() == {"ready": False, "reasons": {"service": "starting"}}
    assert (await get(health, "/healthz")).status_code == 200


async def test_every_expected_part_has_to_report() -> None:
    """Ready when all are ok; the reasons name those that are not."""
    health = Health()
    health.expect("bus", "feeds")
    health.set("bus", True)
    assert health.reasons == {"feeds": "starting"}
    health.set("feeds", True)
    health.expect("feeds")
    ready = await get(health, "/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "reasons": {}}


async def test_a_part_that_fails_makes_the_service_unready() -> None:
    """JetStream away: 503 with the detail; back: 200."""
    health = Health()
    health.set("bus", False, "not connected to NATS")
    ready = await get(health, "/readyz")
    assert ready.status_code == 503
    assert ready.json()["reasons"] == {"bus": "not connected to NATS"}
    health.set("bus", True)
    assert health.ready


async def test_who_stops_is_never_ready_again() -> None:
    """While draining nothing sends new work here, whatever the parts say; the process is still alive."""
    health = Health()
    health.set("bus", True)
    health.stop()
    health.set("bus", True)
    assert (await get(health, "/readyz")).json()["reasons"] == {"service": "stopping"}
    assert (await get(health, "/healthz")).status_code == 200


@pytest.mark.parametrize("ready", [True, False])
async def test_metrics_say_whether_it_is_ready(ready: bool) -> None:
    """/metrics is Prometheus text and shows readiness."""
    health = Health()
    health.set("bus", ready)
    answer = await get(health, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"parley_ready {float(ready)}" in answer.text.splitlines()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_health_only_reads(path: str) -> None:
    """Nothing can be changed through the health port."""
    transport = ASGITransport(app=Health().app)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post(path)).status_code == 405
