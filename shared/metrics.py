"""What all metrics have in common: one registry (prometheus_client's), buckets that fit, and their list.

Each service declares its metrics in its own `metrics` module with prometheus_client. Labels come from
closed sets, never ids: a contract test reads the declarations (AT-83).
"""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry

PREFIX = "parley_"
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 25.0)
"""From a local commit (0.5 ms) to the deadline of a commit (25 s)."""


class Declared(NamedTuple):
    """One metric, as the documentation lists it."""

    name: str
    kind: str
    meaning: str


def declared(registry: CollectorRegistry = REGISTRY) -> list[Declared]:
    """Parley's metrics that the imported modules have declared, by name; counters as they are exposed."""
    return sorted(
        Declared(f"{m.name}_total" if m.type == "counter" else m.name, m.type, m.documentation)
        for m in registry.collect()
        if m.name.startswith(PREFIX)
    )
