"""What subscriptions cost nats-py alone, in a process of its own.

`python -m tests.bench.bare_subscriptions` takes a JSON object a line:

{"url", "user", "password", "subjects": […]}   subscribe to each; CPU and memory for one
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import nats
import orjson
from nats.aio.msg import Msg

from tests.bench.loop import run
from tests.bench.measure import rss_bytes

FLUSH_S = 60


async def _subscribed(question: dict[str, object]) -> dict[str, object]:
    subjects = question["subjects"]
    assert isinstance(subjects, list)
    client = await nats.connect(
        str(question["url"]).split(",")[0], user=str(question["user"]), password=str(question["password"])
    )

    async def heard(_: Msg) -> None:
        """Nobody says anything."""

    before, began_ns = rss_bytes(os.getpid()), time.process_time_ns()
    for subject in subjects:
        await client.subscribe(subject, cb=heard)
    await client.flush(FLUSH_S)
    answer: dict[str, object] = {
        "cpu_us": (time.process_time_ns() - began_ns) / 1000 / len(subjects),
        "rss_kb": (rss_bytes(os.getpid()) - before) / 1024 / len(subjects),
    }
    await client.close()
    return answer


async def _serve() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        os.write(1, orjson.dumps(await _subscribed(orjson.loads(line))) + b"\n")


if __name__ == "__main__":
    run(_serve())
