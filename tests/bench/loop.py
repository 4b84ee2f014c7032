"""The event loop of the load: uvloop where it is installed, as in the services, because it costs less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

try:
    import uvloop
except ImportError:
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run to the end on a new loop."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(work)
