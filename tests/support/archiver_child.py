"""An archiver as a process that kills itself at a named point: `python -m tests.support.archiver_child`.

It is configured like the real one by `PARLEY_…`, and begins when a line on standard input names the point of
the commit protocol to die at and at which pass (`data-synced 2`); with an empty line it is the real one.
"""

from __future__ import annotations

import os
import signal
import sys

from archiver.app import Archiver
from archiver.settings import ArchiverSettings
from shared.bus import Bus
from shared.service import Service, run
from shared.streams import ensure_streams


class CrashPoint:
    """Called at every point; dies at the chosen one."""

    def __init__(self, point: str, nth: int) -> None:
        self.point = point
        self.left = nth

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Run until told to stop, or until the point."""
    settings = ArchiverSettings()
    point, _, nth = sys.stdin.readline().strip().partition(" ")
    reached = CrashPoint(point, int(nth or 1))

    async def archive(service: Service) -> None:
        async with Bus.connect(settings, "archiver") as bus:
            layout = await ensure_streams(bus, settings)
            archiver = Archiver(bus, layout, settings, service.health, reached)
            service.on_stop(archiver.stop)
            await archiver.run()

    return run("archiver", archive, settings)


if __name__ == "__main__":
    sys.exit(main())
