"""`python -m sequencer`: one process, all partitions. Run two for availability; they need not know it."""

from __future__ import annotations

import asyncio
import sys

import structlog

from sequencer.app import Sequencer
from sequencer.settings import SequencerSettings
from shared.bus import Bus, BusError
from shared.errors import LogRegressed, Unavailable
from shared.retry import delays
from shared.service import Service, run, settings_or_exit, settle_memory
from shared.subjects import CHECKPOINTS

FAILURES_MAX = 5
"""So often in a row a log may regress without having been read any further, and be proven all the same."""

_log = structlog.get_logger()


async def _main(service: Service, settings: SequencerSettings) -> None:
    async with Bus.connect(settings, "sequencer") as bus:
        sequencer = await Sequencer.load(bus, settings, service.health)
        if service.stopping.is_set():
            return

        async def stop() -> None:
            """The one that runs by then: of those before it nothing is kept."""
            await sequencer.stop()

        service.on_stop(stop)
        failures = 0
        while not service.stopping.is_set():
            settle_memory()
            counted = sequencer.counted
            try:
                await sequencer.run()
            except* LogRegressed as errors:  # the next one gives the log its new epoch, or refuses
                failures = failures + 1 if counted == sequencer.counted else 0
                if failures == FAILURES_MAX:
                    raise
                error = str(errors.exceptions[0])
                _log.error("sequencer.begins_again", error=error)
                service.health.set(CHECKPOINTS, False, error)
            else:
                break
            sequencer = await _loaded_again(bus, settings, service, sequencer)
        await service.until_stopped()


async def _loaded_again(
    bus: Bus, settings: SequencerSettings, service: Service, before: Sequencer
) -> Sequencer:
    """What `before` has counted may be saved nowhere: it is not given up because JetStream is away.

    Itself again, if the service is told to stop meanwhile.
    """
    for delay_s in delays(first_s=0.2, cap_s=2.0):
        if service.stopping.is_set():
            return before
        try:
            return await Sequencer.load(bus, settings, service.health, before=before)
        except (Unavailable, BusError) as error:
            _log.warning("sequencer.load_failed", error=error.message)
            await asyncio.sleep(delay_s)
    raise AssertionError("delays never end")


def main() -> int:
    """Read the settings and run until told to stop; the exit code."""
    settings = settings_or_exit(SequencerSettings)
    return run("sequencer", lambda service: _main(service, settings), settings)


if __name__ == "__main__":
    sys.exit(main())
