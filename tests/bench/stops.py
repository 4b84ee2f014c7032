"""The stops of the garbage collector in another process, asked for with a signal; see `observed/`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pydantic import TypeAdapter

from tests.support.waiting import eventually

OBSERVED = Path(__file__).parent / "observed"
WITHIN_S = 60.0
_STOPS = TypeAdapter(dict[str, float])


def environment(told: Path) -> dict[str, str]:
    """With these variables a Python process measures its stops, and tells them in the folder `told`."""
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(OBSERVED), *([inherited] if inherited else [])]
    return {"PYTHONPATH": os.pathsep.join(paths), "BENCH_STOPS": str(told)}


async def stops_ms(pid: int, told: Path) -> dict[str, float]:
    """The longest stop since the last call by generation, and `full`: that of a collection made for the call.

    Fails if the process does not answer.
    """
    path = told / f"{pid}.json"
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    await eventually(path.exists, within_s=WITHIN_S)
    return _STOPS.validate_json(path.read_bytes())
