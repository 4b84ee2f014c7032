"""`python -m sequencer`: one process, all partitions. Run two for availability; they need not know it."""

from __future__ import annotations

import sys

from sequencer.app import Sequencer
from sequencer.settings import SequencerSettings
from shared.bus import Bus
from shared.service import Service, run, settings_or_exit, settle_memory


async def _main(service: Service, settings: SequencerSettings) -> None:
    async with Bus.connect(settings, "sequencer") as bus:
        sequencer = await Sequencer.load(bus, settings, service.health)
        service.on_stop(sequencer.stop)
        settle_memory()
        await sequencer.run()
        await service.until_stopped()


def main() -> int:
    """Read the settings and run until told to stop; the exit code."""
    settings = settings_or_exit(SequencerSettings)
    return run("sequencer", lambda service: _main(service, settings), settings)


if __name__ == "__main__":
    sys.exit(main())
