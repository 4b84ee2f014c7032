"""What can befall a run, and in how many seeds it has to: where a fault no longer strikes, nothing is shown.

A fault is counted where it makes a difference, not where the seed asks for it: a replica that lags when its
answer lacks something, an archiver that dies when it was about to write.
"""

from __future__ import annotations

from collections import Counter

from tests.simulation.disk import CHANGES

LEAST = 0.001
"""The share of seeds in which each fault strikes at least."""

FAULTS: dict[str, tuple[str, ...]] = {
    "live messages": (
        "live message lost",
        "live message doubled",
        "live message early",
        "live message late",
        "live message lost with its leader",
    ),
    "reads": ("Direct Get stale", "read refused", "log trimmed"),
    "consumers": ("consumer lost a message", "consumer doubled messages", "consumer reordered messages"),
    "commits": (
        "commit lost",
        "commit unanswered",
        "commit arrived late",
        "id in process (10158)",
        "leader changed under a commit",
        "edge frozen at work",
        "edge killed at work",
        "edge killed under a commit",
        "head of a channel moved",
    ),
    "answers": (
        "old id recorded",
        "batch stored",
        "duplicate found by JetStream",
        "duplicate told",
        "duplicate of what only Parquet holds",
        "conflict told",
        "command refused",
        "outcome unknown",
        "id from the future refused",
    ),
    "sequencers": (
        "checkpoint refused",
        "entry of the directory refused",
        "sequencer killed in a round",
        "sequencer came back behind the other",
        "sequencer behind the front of the log",
        "sequencer waited for its directory",
        "bucket deleted",
        "bucket restored",
        "heads taken from the archive",
    ),
    "archivers": (
        *(f"archiver killed before {change}" for change in CHANGES),
        *(f"archiver overtaken before {change}" for change in CHANGES),
        "archiver fenced",
        "runs merged",
        "archiver behind the front of the log",
        "disk refused",
        "power failed",
    ),
}


def hollow(struck: Counter[str], seeds: int) -> list[str]:
    """The faults that strike too seldom."""
    least = max(1.0, LEAST * seeds)
    return [fault for faults in FAULTS.values() for fault in faults if struck[fault] < least]


def table(struck: Counter[str], seeds: int) -> str:
    """In how many seeds each fault has struck."""
    lines = []
    for group, faults in FAULTS.items():
        lines.append(group)
        lines += [f"  {struck[fault]:7} {100 * struck[fault] / seeds:5.1f} %  {fault}" for fault in faults]
    return "\n".join(lines)
