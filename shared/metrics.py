"""Metrics as declarations: name, meaning and closed label sets in one place, so that they can be listed.

Every metric of Parley is declared here through `counter`, `gauge` or `histogram` when its module is
imported, in prometheus_client's default registry. Ids are refused as labels: they would make a series for
every channel or user (AT-83).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
)
SERIES_MAX = 64
"""Series that the labels of one metric may span."""

Labels = Mapping[str, Sequence[str]]

_OPEN_ENDED = frozenset({"channel", "user", "author", "workspace", "session", "id", "subject", "seq"})


class Declared(NamedTuple):
    """One metric, as the documentation lists it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Labels


_declared: dict[str, Declared] = {}


def counter(name: str, meaning: str, labels: Labels | None = None) -> Counter:
    """Declare a number that only grows; its name ends in `_total`."""
    assert name.endswith("_total"), f"counter {name} must end in _total"
    return Counter(name, meaning, _declare(name, "counter", meaning, labels))


def gauge(name: str, meaning: str, labels: Labels | None = None) -> Gauge:
    """Declare a number that goes up and down."""
    return Gauge(name, meaning, _declare(name, "gauge", meaning, labels))


def histogram(
    name: str, meaning: str, labels: Labels | None = None, *, buckets: Sequence[float] = LATENCY_BUCKETS_S
) -> Histogram:
    """Declare a distribution; its name ends in its unit, seconds unless `buckets` say otherwise."""
    return Histogram(name, meaning, _declare(name, "histogram", meaning, labels), buckets=buckets)


def declared() -> list[Declared]:
    """Every metric that the imported modules have declared, by name."""
    return sorted(_declared.values())


def _declare(
    name: str, kind: Literal["counter", "gauge", "histogram"], meaning: str, labels: Labels | None
) -> list[str]:
    closed = labels or {}
    series = 1
    for label, values in closed.items():
        assert label not in _OPEN_ENDED, f"label {label} of {name} is not a closed set"
        series *= len(values)
    assert name.startswith("parley_"), f"metric {name} must begin with parley_"
    assert meaning, f"metric {name} must say what it means"
    assert 0 < series <= SERIES_MAX, f"metric {name} spans {series} series"
    _declared[name] = Declared(name, kind, meaning, closed)
    return list(closed)
