"""Metrics: every declaration can be listed with its meaning."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

import shared.health  # noqa: F401  # declares parley_ready
from shared.metrics import LATENCY_BUCKETS_S, declared


def test_what_is_declared_is_listed() -> None:
    """Parley's metrics are listed as they are exposed; those of libraries are not."""
    registry = CollectorRegistry()
    Counter("parley_sends_total", "Sends", ["outcome"], registry=registry)
    Gauge("parley_feeds", "Feeds", registry=registry)
    Histogram("parley_ack_seconds", "Acks", registry=registry, buckets=LATENCY_BUCKETS_S)
    Gauge("python_things", "Others", registry=registry)
    assert declared(registry) == [
        ("parley_ack_seconds", "histogram", "Acks"),
        ("parley_feeds", "gauge", "Feeds"),
        ("parley_sends_total", "counter", "Sends"),
    ]


def test_the_default_registry_is_listed() -> None:
    """What modules declare when they are imported is found."""
    assert "parley_ready" in {metric.name for metric in declared()}
