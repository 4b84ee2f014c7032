"""`python -m archiver`: the service that remembers. Configured by `PARLEY_…` variables.

`--reader`: answer for an archive that others write, as with `PARLEY_ARCHIVER_READER`.
"""

from __future__ import annotations

import argparse
import os
import sys

from archiver.app import Archiver
from archiver.settings import ArchiverSettings
from shared.bus import Bus
from shared.service import Service, run, settings_or_exit, settle_memory
from shared.streams import ensure_streams


def main() -> int:
    """Run the archiver until it is told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="archiver", description="Settings are PARLEY_… variables.")
    parser.add_argument("--reader", action="store_true", help="answer, and write nothing into the archive")
    if parser.parse_args().reader:
        os.environ["PARLEY_ARCHIVER_READER"] = "true"
    settings = settings_or_exit(ArchiverSettings)

    async def archive(service: Service) -> None:
        async with Bus.connect(settings, "archiver") as bus:
            layout = await ensure_streams(bus, settings)
            archiver = Archiver(bus, layout, settings, service.health)
            service.on_stop(archiver.stop)
            settle_memory()
            await archiver.run()

    return run("archiver", archive, settings)


if __name__ == "__main__":
    sys.exit(main())
