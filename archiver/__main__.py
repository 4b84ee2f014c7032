"""`python -m archiver`: the service that remembers. Configured by `PARLEY_…` variables."""

from __future__ import annotations

import asyncio
import sys

import structlog

from archiver.app import Archiver
from archiver.settings import ArchiverSettings
from shared.bus import Bus
from shared.errors import LogRegressed
from shared.retry import delays
from shared.service import Service, run, settings_or_exit, settle_memory
from shared.streams import ensure_streams

_log = structlog.get_logger()


def main() -> int:
    """Run the archiver until it is told to stop; the exit code."""
    settings = settings_or_exit(ArchiverSettings)

    async def archive(service: Service) -> None:
        async with Bus.connect(settings, "archiver") as bus:
            layout = await ensure_streams(bus, settings)
            settle_memory()
            for delay_s in delays(first_s=0.5, cap_s=5.0):
                archiver = Archiver(bus, layout, settings, service.health)
                service.on_stop(archiver.stop)
                try:
                    await archiver.run()
                    return
                except* LogRegressed as errors:  # until the sequencer has given the log its new epoch
                    _log.error("archiver.begins_again", error=str(errors.exceptions[0]))
                await asyncio.sleep(delay_s)

    return run("archiver", archive, settings)


if __name__ == "__main__":
    sys.exit(main())
