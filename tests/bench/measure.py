"""What is measured and how: CPU time and memory of processes from /proc, percentiles, medians.

CPU time is the sum of a process's threads in /proc/PID/task/*/schedstat, in nanoseconds. Of one short run the
wall clock says little on a shared machine; so everything is repeated, interleaved with its reference, and the
median is reported.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LISTENS = "0A"

CALLS_OF_REPETITION = 50_000
CALL_REPETITIONS = 7


def cpu_ns(pid: int) -> int:
    """Nanoseconds for which the process's threads have run; those of ended threads are not in it."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def connections(table: str, port: int) -> int:
    """How many connections of a local port a process has accepted, of the text of /proc/net/tcp (IPv4).

    One that nobody has accepted yet, or that its process has closed, has no inode.
    """
    end, count = f":{port:04X}", 0
    for line in table.splitlines()[1:]:
        _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
        count += local[-5:] == end and state != _LISTENS and inode != "0"
    return count


def tcp_buffer_bytes(sockstat: str) -> int:
    """What all TCP sockets of the machine hold in buffers, of the text of /proc/net/sockstat."""
    for line in sockstat.splitlines():
        kind, *fields = line.split()
        if kind == "TCP:":
            return int(fields[fields.index("mem") + 1]) * _PAGE_BYTES
    raise KeyError("TCP")


def slab_bytes(slabinfo: str, names: Collection[str]) -> int:
    """What the objects of these kinds take that the kernel has in use, of the text of /proc/slabinfo."""
    total = 0
    for line in slabinfo.splitlines()[2:]:
        name, active, _, size, *_ = line.split()
        if name in names:
            total += int(active) * int(size)
    return total


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the ascending values do not exceed (nearest rank)."""
    assert ordered, "no values"
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Iterable[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def send_queue_bytes(local_port: int, remote_port: int) -> int:
    """What the kernel holds of an IPv4 connection's local end: sent and not acknowledged, or not sent yet.

    0 if there is no such connection. Payload alone, without what the kernel needs to keep it.
    """
    return send_queue(Path("/proc/net/tcp").read_text(), local_port, remote_port)


def send_queue(table: str, local_port: int, remote_port: int) -> int:
    """The same of the text of /proc/net/tcp."""
    ends = (f":{local_port:04X}", f":{remote_port:04X}")
    for line in table.splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (local[-5:], remote[-5:]) == ends:
            return int(queues.partition(":")[0], 16)
    return 0


def metric(text: str, name: str) -> float:
    """A value without labels in the text of /metrics. Raises `KeyError`."""
    for line in text.splitlines():
        if line.startswith(name + " "):
            return float(line.partition(" ")[2])
    raise KeyError(name)


class CpuMeter:
    """CPU time of some processes since it was made or asked last."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids
        self._before: dict[str, int] = {}
        self._began_ns = 0
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self._before = {name: cpu_ns(pid) for name, pid in self._pids.items()}
        self._began_ns = time.monotonic_ns()

    def used_us(self, name: str) -> float:
        """Microseconds of CPU that a process used."""
        return (cpu_ns(self._pids[name]) - self._before[name]) / 1000

    def share(self, name: str) -> float:
        """Of one core: 1.0 is all of it."""
        return 1000 * self.used_us(name) / max(1, time.monotonic_ns() - self._began_ns)


def cpu_pressure() -> float | None:
    """Per cent of the last 10 s in which somebody waited for a core; None where the kernel is silent."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return float(line.split("avg10=")[1].split()[0])


def call_ns() -> float:
    """CPU that this interpreter takes for a method call with some small objects, in ns; best of several."""
    tally = _Tally()
    best_ns = math.inf
    for _ in range(CALL_REPETITIONS):
        began_ns = time.thread_time_ns()
        for number in range(CALLS_OF_REPETITION):
            tally.count(number)
        best_ns = min(best_ns, (time.thread_time_ns() - began_ns) / CALLS_OF_REPETITION)
    return best_ns


class _Tally:
    def __init__(self) -> None:
        self.total = 0

    def count(self, number: int) -> int:
        if isinstance(number, int):
            self.total += number
        seen = {"total": self.total}
        seen["parts"] = len([number])
        return seen["parts"]
