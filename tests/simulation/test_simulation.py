"""Seeded runs of the cores over a faulty bus, against the log itself (`just simulate` for more of them)."""

from __future__ import annotations

import os

import pytest

from tests.simulation.found import FOUND
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.runs import first_failure, report
from tests.simulation.shrinking import shrunk
from tests.simulation.steps import history, replay, take
from tests.simulation.turns import deterministic
from tests.simulation.world import World

SEEDS = int(os.environ.get("PARLEY_SEEDS", "400"))
MUTANT_SEEDS = 400


def test_every_seed_keeps_the_promises() -> None:
    """Each client sees each event once, in order, to the end, and nothing after its removal."""
    failed = first_failure(range(SEEDS))
    assert failed is None, report(failed)


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_stays_mended(what: str) -> None:
    """A history that found a bug passes for ever."""
    with deterministic():
        assert replay(FOUND[what]) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str) -> None:
    """Each mutant breaks a promise within a few hundred seeds."""
    with planted(name):
        assert first_failure(range(MUTANT_SEEDS)) is not None


def test_a_failure_shrinks_to_a_short_history() -> None:
    """What is printed fails by itself, and no step of it can be left out."""
    with planted("healing off"):
        seed = first_failure(range(MUTANT_SEEDS))
        assert seed is not None
        with deterministic():
            smallest = shrunk(history(seed), lambda steps: replay(steps) is not None)
            assert len(smallest) < len(history(seed)) / 2
            for at in range(len(smallest)):
                assert replay(smallest[:at] + smallest[at + 1 :]) is None


def test_runs_reach_what_they_are_for() -> None:
    """Among some seeds there are events for clients, questions, segments, and a trimmed log."""
    seen = {"delivered": 0, "manifests": 0, "trimmed": 0, "published": 0}
    with deterministic():
        for seed in range(40):
            world = World()
            for step in history(seed):
                take(world, step)
            world.settle()
            seen["published"] += world.log.last
            seen["delivered"] += sum(client.delivered for client in world.clients)
            seen["manifests"] += len(world.archiver.manifest.segments)
            seen["trimmed"] += world.log.floor > 1
            world.works.close()
    assert all(seen.values()), seen


def test_a_seed_is_the_same_run_each_time() -> None:
    """Nothing but the seed decides."""
    with deterministic():
        for seed in range(20):
            told = []
            for _ in range(2):
                world = World()
                for step in history(seed):
                    take(world, step)
                places = [sorted((name, at.seq) for name, at in it.places.items()) for it in world.clients]
                told.append((places, [it.delivered for it in world.clients]))
                world.works.close()
            assert told[0] == told[1]
