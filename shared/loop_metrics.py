"""Metrics for what happens with every message: an addition now, a sample when somebody asks.

prometheus_client's own take a lock and look for exemplars with each step, which costs more than most of what
they count. These belong to the thread of one event loop, which also answers `/metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Child = TypeVar("Child")


class Count:
    """A counter of certain labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: int = 1) -> None:
        """So many more."""
        self.value += by


class Spread:
    """A histogram of certain labels: how many values lie between two bounds, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One value more; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class _Labelled(Collector, Generic[Child]):
    """The children of a metric by the values of its labels, which come from closed sets."""

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        new: Callable[[], Child],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._new = new
        self._children: dict[tuple[str, ...], Child] = {}
        if not labels:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Child:
        """The one with these labels, in the order of their declaration."""
        child = self._children.get(values)
        if child is None:
            assert len(values) == len(self._labels), f"{self._name} has the labels {self._labels}"
            child = self._children[values] = self._new()
        return child


class LoopCounter(_Labelled[Count]):
    """As prometheus_client's `Counter`; its name ends with `_total`."""

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str] = (), registry: CollectorRegistry = REGISTRY
    ) -> None:
        super().__init__(name, meaning, labels, Count, registry)

    def inc(self, by: int = 1) -> None:
        """So many more, of one without labels."""
        self.labels().inc(by)

    def collect(self) -> Iterable[Metric]:
        """What was counted so far."""
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, count in self._children.items():
            family.add_metric(values, count.value)
        yield family


class LoopHistogram(_Labelled[Spread]):
    """As prometheus_client's `Histogram`; `bounds` ascend."""

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._bounds = [*map(floatToGoString, (*bounds, float("inf")))]
        super().__init__(name, meaning, labels, lambda: Spread(bounds), registry)

    def collect(self) -> Iterable[Metric]:
        """What was observed so far."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, spread in self._children.items():
            counts = map(float, accumulate(spread.counts))
            family.add_metric(values, [*zip(self._bounds, counts, strict=True)], spread.total)
        yield family
