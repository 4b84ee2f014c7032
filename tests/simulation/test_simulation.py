"""Seeded runs of the cores over a faulty bus, against the log itself (`just simulate` for more of them)."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from archiver.cache import Cache as RealCache
from archiver.manifest_store import Fenced
from shared.events import encode
from shared.ids import Seq, StreamSeq
from tests.simulation.archive import Cache
from tests.simulation.disk import Disk, Place
from tests.simulation.faults import FAULTS, LEAST, hollow
from tests.simulation.found import FOUND
from tests.simulation.lending import deterministic
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.runs import first_failure, report, run
from tests.simulation.shrinking import shrunk
from tests.simulation.steps import history, replay, take
from tests.simulation.world import EPOCH, World
from tests.support.archive import created, hot_of, key_of, posted

SEEDS = int(os.environ.get("PARLEY_SEEDS", "400"))
MUTANT_SEEDS = 2000
SEEDS_FROM = {"a writer that fences nobody": 950, "strangers whose ids nobody reads": 830}
"""Where the search begins for bugs that show seldom: it saves time, and decides nothing."""
RARE_MAX = 6
"""So many faults may miss a few hundred seeds; of ten thousand none may (`just simulate`)."""


def test_every_seed_keeps_the_promises() -> None:
    """Whatever befalls a run, nothing is lost, doubled, shown to strangers or numbered twice.

    And what should befall it does: a fault that strikes nowhere proves nothing.
    """
    outcome = run(range(SEEDS))
    assert outcome.failed is None, report(outcome.failed)
    assert len(hollow(outcome.struck, SEEDS)) < RARE_MAX, hollow(outcome.struck, SEEDS)
    known = {fault for faults in FAULTS.values() for fault in faults}
    assert outcome.struck.keys() <= known, outcome.struck.keys() - known


def test_a_hollow_simulation_is_found() -> None:
    """A fault that strikes too seldom is named."""
    everywhere = Counter({fault: 10_000 for faults in FAULTS.values() for fault in faults})
    assert not hollow(everywhere, 10_000)
    everywhere["disk refused"] = round(LEAST * 10_000) - 1
    assert hollow(everywhere, 10_000) == ["disk refused"]


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_stays_mended(what: str) -> None:
    """A history that found a bug passes for ever."""
    with deterministic():
        assert replay(FOUND[what]) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str) -> None:
    """Each mutant works, and breaks a promise in a history of old, or within two thousand seeds."""
    with planted(name), deterministic():
        found = [replay(steps) for steps in FOUND.values()]
    assert not any(isinstance(error, TypeError | AttributeError) for error in found)
    first = SEEDS_FROM.get(name, 0)
    with planted(name):
        assert any(found) or first_failure(range(first, first + MUTANT_SEEDS)) is not None


def test_the_cache_that_stands_in_answers_as_the_real_one(tmp_path: Path) -> None:
    """Positions, heads, ids and refusals are the same, batch by batch."""
    real = RealCache(tmp_path / "c.sqlite", EPOCH, StreamSeq(0))
    ours = Cache(Place(Disk(), "/cache"), EPOCH, StreamSeq(0))
    for hi, key in ((0, key_of("tea")), (3, key_of("go"))):
        batch = hot_of(hi, {key: [encode(created()), encode(posted("a")), b"garbage"]}).cut()
        for cache in (real, ours):
            cache.record(batch.lo, batch.hi, batch.channels)
            with pytest.raises(Fenced):
                cache.record(batch.lo, batch.hi, batch.channels)
        events = [hot.recorded.event for _, _, hots in batch.channels for hot in hots[:2]]
        names = [(event.author, event.id) for event in events]
        assert real.position == ours.position
        assert real.heads([key]) == ours.heads([key])
        assert real.known(key, names) == ours.known(key, names)
        assert real.greatest(key) == ours.greatest(key)
    for cache in (real, ours):
        cache.join_runs(StreamSeq(1), StreamSeq(6))
    assert real.stream_span(key_of("go"), Seq(1), Seq(3)) == (4, 6)
    assert [run[1:] for run in ours.book.runs] == [(1, 3, 1, 3), (1, 3, 4, 6)]
    real.close()


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
    """Among some seeds there are events for clients, answers for senders, segments, and checkpoints."""
    seen = dict.fromkeys(("published", "delivered", "answered", "segments", "saved"), 0)
    with deterministic():
        for seed in range(40):
            world = World()
            for step in history(seed):
                take(world, step)
            world.settle()
            seen["published"] += world.log.last
            seen["delivered"] += sum(client.delivered for client in world.receivers.clients)
            seen["answered"] += sum(attempt.is_answered for attempt in world.senders.attempts)
            seen["segments"] += len(world.archiving.archivers[-1].archive.manifest.segments)
            seen["saved"] += len(world.sequencing.buckets.checkpoints)
            world.close()
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
                places = [
                    sorted((name, at.seq) for name, at in it.places.items()) for it in world.receivers.clients
                ]
                told.append((places, [it.delivered for it in world.receivers.clients]))
                world.close()
            assert told[0] == told[1]
