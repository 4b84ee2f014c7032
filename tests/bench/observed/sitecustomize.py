"""How long the garbage collector stops a process: loaded by every Python that has this folder in PYTHONPATH.

The process needs no hook of its own. On SIGUSR1 it writes `$BENCH_STOPS/PID.json`, the longest stop since the
last signal in ms, by generation as `"0"`, `"1"`, `"2"`, and as `"full"` that of a collection of everything
that is made then and there; and begins anew.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

_longest_ms: dict[str, float] = {}
_began_ns = 0


def _stopped(phase: str, info: dict[str, Any]) -> None:
    global _began_ns  # noqa: PLW0603  # the interpreter has one collector
    if phase == "start":
        _began_ns = time.perf_counter_ns()
        return
    generation = str(info["generation"])
    stop_ms = (time.perf_counter_ns() - _began_ns) / 1e6
    _longest_ms[generation] = max(stop_ms, _longest_ms.get(generation, 0.0))


def _tell(_signal: int, _frame: object) -> None:
    told = dict(_longest_ms)
    _longest_ms.clear()
    gc.collect()
    told["full"] = _longest_ms["2"]
    _longest_ms.clear()
    path = Path(os.environ["BENCH_STOPS"], f"{os.getpid()}.json")
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(told))
    whole.replace(path)


if "BENCH_STOPS" in os.environ:
    gc.callbacks.append(_stopped)
    signal.signal(signal.SIGUSR1, _tell)
