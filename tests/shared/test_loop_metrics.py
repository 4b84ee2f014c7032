"""A loop's own metrics say what prometheus_client's would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from shared.loop_metrics import LoopCounter, LoopHistogram
from shared.metrics import LATENCY_BUCKETS_S

_labels = st.sampled_from(["send", "edit", 'a"b\\'])
_values = st.one_of(st.sampled_from(LATENCY_BUCKETS_S), st.floats(0, 100))


def exposed(registry: CollectorRegistry) -> list[str]:
    """The lines of `/metrics`, without the times at which prometheus_client's were made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.tuples(_labels, st.integers(0, 9))))
def test_a_counter_is_exposed_as_usual(steps: list[tuple[str, int]]) -> None:
    """The same names, labels and sums."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counter, usual = (
        LoopCounter("x_total", "X", ["type"], ours),
        Counter("x_total", "X", ["type"], registry=theirs),
    )
    for label, by in steps:
        counter.labels(label).inc(by)
        usual.labels(label).inc(by)
    assert exposed(ours) == exposed(theirs)


@given(st.lists(st.tuples(_labels, _values)))
def test_a_histogram_is_exposed_as_usual(steps: list[tuple[str, float]]) -> None:
    """The same buckets, also for a value that is a bound; the same count and sum."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = LoopHistogram("x", "X", ["type"], bounds=LATENCY_BUCKETS_S, registry=ours)
    usual = Histogram("x", "X", ["type"], buckets=LATENCY_BUCKETS_S, registry=theirs)
    for label, value in steps:
        histogram.labels(label).observe(value)
        usual.labels(label).observe(value)
    assert exposed(ours) == exposed(theirs)


def test_one_without_labels_is_there_from_the_beginning() -> None:
    """0 is something else than nothing."""
    registry = CollectorRegistry()
    counter = LoopCounter("y_total", "Y", registry=registry)
    assert registry.get_sample_value("y_total") == 0
    counter.inc()
    assert registry.get_sample_value("y_total") == 1


def test_labels_are_those_that_were_declared() -> None:
    """A value too few would be another metric."""
    counter = LoopCounter("z_total", "Z", ["a", "b"], CollectorRegistry())
    with pytest.raises(AssertionError, match="z_total has the labels"):
        counter.labels("1")
    assert counter.labels("1", "2") is counter.labels("1", "2")
