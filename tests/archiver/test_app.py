"""The service as a process: it starts, says that it is ready, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from archiver.ingest import Ingest
from archiver.manifest_store import Fenced
from shared.archive_files import pin, scan
from shared.bus import Bus, Message, Subscription
from shared.errors import Unavailable
from shared.events import encode
from shared.settings import CommonSettings
from tests.support.archive import (
    archiver_settings,
    created,
    key_of,
    posted,
    read_logs,
    running,
    status,
    store,
    taken,
)
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

KEYS = [key_of("tea"), key_of("go")]
"""One in each of the two partitions."""


async def test_the_process_starts_and_stops(fresh_nats_server: NatsServer, tmp_path: Path) -> None:
    """`python -m archiver` becomes ready, shows metrics, and exits with 0 on SIGTERM."""
    env = {
        **os.environ,
        "PARLEY_NATS_URL": fresh_nats_server.url,
        "PARLEY_PARTITIONS": "2",
        "PARLEY_ARCHIVE": str(tmp_path / "archive"),
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

            await eventually(ready)
            assert "parley_archive_watermark" in (await http.get("/metrics")).text
        assert len(pin(tmp_path / "archive").manifests) == 2
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_partitions_are_divided(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """Each archiver answers for its own partitions only; together they keep everything, in one archive."""
    directory = tmp_path / "archive"
    halves = [archiver_settings(fresh_settings, directory, archiver_partitions=share) for share in "01"]
    async with running(fresh_bus, halves[0]):
        assert (await status(fresh_bus, 0), await status(fresh_bus, 1))[1] is None
        assert await status(fresh_bus, 0) is not None
        assert [manifest.partition for manifest in pin(directory).manifests] == [0]
        async with running(fresh_bus, halves[1]):
            for key in KEYS:
                await store(fresh_bus, key, [encode(created()), encode(posted("hello"))])
            await taken(fresh_bus)
    await _archive_is_the_log(fresh_bus, directory)


async def test_two_keepers_of_one_partition_do_no_harm(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """They fence each other, are started again as a supervisor would, and the archive is right."""
    directory = tmp_path / "archive"
    over = asyncio.Event()
    fenced = 0

    async def keep(share: str) -> None:
        nonlocal fenced
        settings = archiver_settings(fresh_settings, directory, archiver_partitions=share, flush_events=5)
        while not over.is_set():
            try:
                async with running(fresh_bus, settings) as one:
                    ending = asyncio.create_task(over.wait())
                    await asyncio.wait({one.task, ending}, return_when=asyncio.FIRST_COMPLETED)
                    ending.cancel()
                    if one.task.done():
                        await one.task
            except* Fenced:
                fenced += 1

    keepers = [asyncio.create_task(keep(share)) for share in ("0-1", "1")]
    for key in KEYS:
        await store(fresh_bus, key, [encode(created())])
    while fenced < 4:
        for key in KEYS:
            await store(fresh_bus, key, [encode(posted("more"))])
        assert not any(keeper.done() for keeper in keepers)
    over.set()
    await asyncio.gather(*keepers)
    async with running(fresh_bus, archiver_settings(fresh_settings, directory)):
        await taken(fresh_bus)
    await _archive_is_the_log(fresh_bus, directory)


class Refusing(Bus):
    """Refuses one of the subscriptions that requests are answered with, some times over."""

    refusals = 3

    async def subscribe(
        self, subject: str, callback: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """Raises `Unavailable`."""
        if subject == "archive.0.count" and self.refusals:
            self.refusals -= 1
            raise Unavailable("away")
        return await super().subscribe(subject, callback, queue=queue)


async def test_a_start_that_could_not_answer_leaves_nothing_behind(
    fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """It is begun again until it can: of those before it no ingest is kept, and none answers a request."""
    async with (
        Refusing.connect(fresh_settings, "archiver") as bus,
        running(bus, archiver_settings(fresh_settings, tmp_path / "archive")) as one,
    ):
        assert (bus.refusals, one.health.ready) == (0, True)
        gc.collect()
        kept = [it for it in gc.get_objects() if isinstance(it, Ingest) and it._bus is bus]
        assert len(kept) == 2
        asked = [it for it in bus._client._subs.values() if it._subject.startswith("archive.")]
        assert len(asked) == len({it._subject for it in asked})


async def _archive_is_the_log(bus: Bus, directory: Path) -> None:
    """Every event once, under its number."""
    logged = await read_logs(bus)
    assert logged.total
    kept = sorted((row.channel, row.seq) for row in scan(directory))
    assert kept == sorted(
        (key.channel, n + 1) for key, all_ in logged.bodies.items() for n in range(len(all_))
    )
