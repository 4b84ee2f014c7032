"""Archivers as processes that kill themselves at a named point: `python -m tests.support.archiver_child`.

Each line on standard input starts one: `data-synced 2` dies at the second pass of that point of the commit
protocol, an empty line is the real one. Its process id and then its exit code are written to standard
output. The processes are forked from this one, which has everything imported and runs no thread: starting
an interpreter would take longer than what is tested. Configured like the real one by `PARLEY_…`.
"""

from __future__ import annotations

import os
import signal
import sys

import pyarrow.parquet as pq

from archiver.app import Archiver
from archiver.settings import ArchiverSettings
from infra.local.lifeline import die_with_parent
from shared.bus import Bus
from shared.service import Service, run
from shared.streams import ensure_streams

assert pq, "imported here, so that no child has to"


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


def archive(point: str, nth: int) -> int:
    """Run an archiver until told to stop, or until the point."""
    settings = ArchiverSettings()

    async def main(service: Service) -> None:
        async with Bus.connect(settings, "archiver") as bus:
            layout = await ensure_streams(bus, settings)
            archiver = Archiver(bus, layout, settings, service.health, CrashPoint(point, nth))
            service.on_stop(archiver.stop)
            await archiver.run()

    return run("archiver", main, settings)


def main() -> None:
    """Start what is asked for, one after another."""
    bind = die_with_parent()
    for line in sys.stdin:
        point, _, nth = line.strip().partition(" ")
        pid = os.fork()
        if pid == 0:
            bind()
            os.dup2(2, 1)
            os._exit(archive(point, int(nth or 1)))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
