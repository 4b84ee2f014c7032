"""The service as a process: it starts, says that it is ready, and ends in order."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import httpx

from archiver.settings import ArchiverSettings
from shared.archive_files import pin
from shared.settings import documented
from tests.support.nats import NatsServer
from tests.support.waiting import eventually


async def test_the_process_starts_and_stops(fresh_nats_server: NatsServer, tmp_path: Path) -> None:
    """`python -m archiver` becomes ready, shows metrics, and exits with 0 on SIGTERM."""
    env = {
        **os.environ,
        "PARLEY_NATS_URL": fresh_nats_server.url,
        "PARLEY_PARTITIONS": "2",
        "PARLEY_ARCHIVE_DIR": str(tmp_path / "archive"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "archiver",
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        port = ""
        async with asyncio.timeout(30):
            while not port:
                found = re.search(rb'"port": ?(\d+)', await process.stdout.readline())
                port = found[1].decode() if found else ""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def ready() -> bool:
                return (await http.get("/readyz")).status_code == 200

            await eventually(ready, within_s=20)
            assert "parley_archive_watermark" in (await http.get("/metrics")).text
        assert len(pin(tmp_path / "archive").manifests) == 2
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_every_setting_is_described() -> None:
    """Each variable has a sentence for the README."""
    assert all(line.description for line in documented(ArchiverSettings))
