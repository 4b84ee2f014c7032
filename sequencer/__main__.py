"""`python -m sequencer`: one process, all partitions. Run two for availability; they need not know it."""

from __future__ import annotations

import sys

import structlog

from sequencer.app import Sequencer
from sequencer.settings import SequencerSettings
from shared.bus import Bus
from shared.errors import LogRegressed
from shared.service import Service, run, settings_or_exit, settle_memory

_log = structlog.get_logger()


async def _main(service: Service, settings: SequencerSettings) -> None:
    async with Bus.connect(settings, "sequencer") as bus:
        sequencer, failed_at = None, None
        while not service.stopping.is_set():
            sequencer = await Sequencer.load(bus, settings, service.health, before=sequencer)
            service.on_stop(sequencer.stop)
            settle_memory()
            try:
                await sequencer.run()
            except* LogRegressed as errors:  # the next one gives the log its new epoch, or refuses
                if failed_at == sequencer.counted:
                    raise
                failed_at = sequencer.counted
                _log.error("sequencer.begins_again", error=str(errors.exceptions[0]))
        await service.until_stopped()


def main() -> int:
    """Read the settings and run until told to stop; the exit code."""
    settings = settings_or_exit(SequencerSettings)
    return run("sequencer", lambda service: _main(service, settings), settings)


if __name__ == "__main__":
    sys.exit(main())
