"""The same seed hurts the same in the same order."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.schedule import EVERYBODY, HURRIED, KINDS, MOMENTARY, NETWORK, STEADY, Victims, schedule

ALL = Victims(
    processes=("edge-1", "nats-1"),
    paths=("clients>edge-1", "edge-1"),
    full_disks=("archiver",),
    slow_disks=("nats-1",),
    streams=("LOG_0", "LOG_1"),
)


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_is_its_seed(seed: int) -> None:
    """The same seed gives the same plan, another seed another; faults follow one another and end in time."""
    faults = schedule(seed, 600, ALL)
    assert faults == schedule(seed, 600, ALL)
    assert faults != schedule(seed + 1, 600, ALL)
    for earlier, later in itertools.pairwise(faults):
        assert later.at_s > earlier.at_s + earlier.for_s
    assert all(fault.at_s < 600 for fault in faults)
    assert all((fault.for_s == 0) == (fault.kind in MOMENTARY) for fault in faults)
    assert all(fault.for_s <= STEADY.lasting_s[1] for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_comes_before_one_comes_again(seed: int) -> None:
    """As many faults as there are kinds are of as many kinds, and each hits one of its own victims."""
    faults = schedule(seed, 600, ALL, faults_max=len(KINDS))
    assert len(faults) == len(KINDS)
    assert {fault.kind for fault in faults} == set(KINDS)
    possible = ALL.by_kind()
    assert all(fault.victim in possible[fault.kind] for fault in faults)
    assert {fault.victim for fault in faults if fault.kind in NETWORK} <= set(ALL.paths)


def test_twenty_minutes_are_enough_for_a_hundred_faults() -> None:
    """What issue 3 asks for: ≥ 100 faults of ≥ 10 kinds in 20 minutes, whatever the seed."""
    for seed in range(100):
        faults = schedule(seed, 1200, ALL)
        assert len(faults) >= 120
        assert len({fault.kind for fault in faults}) >= 10


def test_a_hurried_run_of_all_kinds_takes_half_a_minute() -> None:
    """So long at most until the last of them begins."""
    for seed in range(100):
        faults = schedule(seed, 600, ALL, pace=HURRIED, faults_max=len(KINDS))
        assert faults[-1].at_s < 40


def test_what_is_not_there_is_not_hurt() -> None:
    """One server, no small disks: no leader steps down and no disk is filled; named kinds come alone."""
    alone = Victims(processes=("edge-1",))
    kinds = {fault.kind for fault in schedule(1, 600, alone)}
    assert kinds == {"kill", "terminate", "freeze", "stutter", "clock jump"}
    only = Victims(processes=("edge-1",), kinds=("kill",))
    assert {fault.kind for fault in schedule(1, 600, only)} == {"kill"}
    with pytest.raises(AssertionError, match="none of these kinds"):
        schedule(1, 600, Victims(processes=("edge-1",), kinds=("full disk",)))


def test_what_needs_no_name_hits_everybody() -> None:
    """Clocks, and leaders that step down together, have no victim of their own."""
    faults = schedule(3, 600, ALL)
    assert {f.victim for f in faults if f.kind in {"clock jump", "step down all"}} == {EVERYBODY}
