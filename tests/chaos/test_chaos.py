"""A short run of the fault suite: `just chaos` runs longer ones."""

from __future__ import annotations

import itertools
import os
import random

import pytest

from tests.chaos.run import READERS, run
from tests.chaos.schedule import FREEZE_S, KINDS, schedule

SEED = int(os.environ.get("PARLEY_SEED") or random.SystemRandom().randrange(2**32))
SECONDS = 8.0


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_is_its_seed(seed: int) -> None:
    """The same seed hurts the same in the same order; faults do not overlap, and all kinds come."""
    faults = schedule(seed, 600, ("a", "b"), ("LOG_0",))
    assert faults == schedule(seed, 600, ("a", "b"), ("LOG_0",))
    assert faults != schedule(seed + 1, 600, ("a", "b"), ("LOG_0",))
    assert {fault.kind for fault in faults} == set(KINDS)
    assert all((fault.victim == "LOG_0") == (fault.kind == "step down") for fault in faults)
    assert "step down" not in {fault.kind for fault in schedule(seed, 600, ("a", "b"))}
    for earlier, later in itertools.pairwise(faults):
        assert later.at_s > earlier.at_s + earlier.for_s
    assert all(fault.for_s <= FREEZE_S[1] for fault in faults)


@pytest.mark.system
@pytest.mark.timeout(200)
@pytest.mark.skipif(
    "PARLEY_CHAOS" not in os.environ, reason="takes a minute: set PARLEY_CHAOS, or just chaos"
)
async def test_nothing_is_lost_while_processes_are_hurt() -> None:
    """Killed, ended, frozen: nothing is lost, doubled, out of order or leaked, and verify is clean."""
    print(f"PARLEY_SEED={SEED}")
    outcome = await run(SEED, SECONDS, print)
    assert not outcome.wrong, "\n".join(outcome.wrong[:20])
    assert outcome.acked > 100
    assert outcome.events > outcome.acked
    assert outcome.sessions >= READERS
