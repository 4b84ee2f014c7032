"""A short run of the fault suite: `just chaos` runs longer ones, `just chaos --cluster` on three servers."""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.run import SHORT, run

SEED = int(os.environ.get("PARLEY_SEED") or random.SystemRandom().randrange(2**32))
FAULTS = 8


@pytest.mark.system
@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_nothing_is_lost_while_things_break() -> None:
    """Eight faults of eight kinds, of processes, disks, network or clocks: nothing is lost, doubled, out of
    order or leaked, `parley verify` is clean, and everybody is served again in time.

    It ends by its own deadlines, each of which names who is late; the time-out above is only for a hang.
    """
    print(f"PARLEY_SEED={SEED}")
    outcome = await run(SEED, 600, print, scale=SHORT, faults_max=FAULTS)
    assert not outcome.wrong, "\n".join([*map(str, outcome.wrong[:20]), *outcome.history])
    assert len({fault.kind for fault in outcome.faults}) == FAULTS
    assert outcome.acked > 100
    assert outcome.events > outcome.acked
    assert outcome.sessions >= SHORT.readers
