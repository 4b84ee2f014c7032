"""The arithmetic of the reports."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tests.bench.measure import CpuMeter, percentile, rss_bytes
from tests.bench.pace import paced
from tests.bench.report import Figure, circumstances, json_lines


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 2), (100, 0.99, 99), (100, 0.999, 100), (1000, 0.99, 990), (5, 0, 1)],
)
def test_percentile_is_the_nearest_rank(count: int, share: float, expected: int) -> None:
    """The smallest value that at least that share of all values do not exceed."""
    assert percentile(range(1, count + 1), share) == expected


def test_cpu_of_a_process_is_what_it_itself_sees() -> None:
    """The figure from /proc agrees with the process's own clock."""
    meter = CpuMeter(me=os.getpid())
    began_ns = time.process_time_ns()
    while time.process_time_ns() - began_ns < 50_000_000:
        pass
    assert 40_000 < meter.used_us("me") < 1_000_000
    assert rss_bytes(os.getpid()) > 1_000_000


async def test_every_message_is_due_at_its_own_time() -> None:
    """What comes after a stall was due during it: the schedule does not wait."""
    dues: list[int] = []
    await paced(1000, 50, lambda _, due_ns: dues.append(due_ns))
    assert [later - earlier for earlier, later in itertools.pairwise(dues)] == [1_000_000] * 49


def test_a_target_is_met_from_its_own_side() -> None:
    """An upper bound on the ratio, a lower bound on the value, and no target at all."""
    upper = Figure("b", "c", "f", "ms", 9.0, 5, ratio=1.4, target=1.5, judged="ratio")
    lower = Figure("b", "c", "f", "ids/s", 900.0, 5, target=1000.0, at_least=True)
    assert (upper.met, lower.met) == (True, False)
    assert Figure("b", "c", "f", "ms", 1.0, 5).met is None
    assert '"met":true' in json_lines([upper], circumstances())[0]
