"""`parley search --rebuild`: search indexes made anew, while everything runs, and how far they are.

Every archiver and reader hears the question, which names this run: whoever hears it first begins, whoever has
begun says how far it is. So it can be asked as often as one likes, and nothing depends on who asks it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from infra.cli.options import data_directory
from shared.bus import Bus
from shared.envelope import Message
from shared.errors import Unavailable
from shared.ids import Partition
from shared.records import RebuildReply, RebuildRequest
from shared.subjects import archive_subject

ASK_EVERY_S = 0.5
SILENCE_S = 30.0
"""Whoever has not answered for so long is away; its index is brought up to date when it is back."""


class Rebuild:
    """How far a run is, by those who answer."""

    def __init__(self, partitions: int) -> None:
        self.run = secrets.token_hex(8)
        self._partitions = partitions
        self._done: dict[tuple[int, str], int] = {}
        self._ends: dict[tuple[int, str], int] = {}
        self._began_s = time.monotonic()
        self._heard_s: dict[tuple[int, str], float] = {}

    def hear(self, partition: int, reply: RebuildReply) -> None:
        """What one says: events that come later are none of this run's."""
        key = (partition, reply.instance)
        self._ends.setdefault(key, reply.applied)
        self._done[key] = min(reply.searchable, self._ends[key])
        self._heard_s[key] = time.monotonic()

    @property
    def events(self) -> tuple[int, int]:
        """How many have been taken in, of how many."""
        return sum(self._done.values()), sum(self._ends.values())

    @property
    def indexes(self) -> int:
        """How many are made."""
        return len(self._ends)

    @property
    def is_over(self) -> bool:
        """Whether all are done. Raises `Unavailable` if somebody is away."""
        silent = set(range(self._partitions)) - {partition for partition, _ in self._ends}
        now_s = time.monotonic()
        if silent:
            if now_s - self._began_s > SILENCE_S:
                raise Unavailable(f"no archiver answers for partition {', '.join(map(str, sorted(silent)))}")
            return False
        left = [key for key, end in self._ends.items() if self._done[key] < end]
        for partition, instance in left:
            if now_s - self._heard_s[partition, instance] > SILENCE_S:
                raise Unavailable(f"{instance} does not answer for partition {partition} any more")
        return not left


def rebuild(data: Path) -> None:
    """Make all search indexes of a system anew; Ctrl-C ends the watching only."""
    directory = data_directory(data)
    run = directory.run()

    async def ask() -> int:
        async with Bus.connect(directory.operator_settings(), "parley search --rebuild") as bus:
            return await rebuilt(bus, run.partitions, Console(stderr=True))

    try:
        made = asyncio.run(ask())
    except KeyboardInterrupt:
        Console(stderr=True).print("the archivers go on without you: see `parley status`")
        raise
    print(f"{made} search indexes made anew")


async def rebuilt(bus: Bus, partitions: int, console: Console) -> int:
    """Ask until it is done, and show how far it is; how many indexes there were. Raises `Unavailable`."""
    run = Rebuild(partitions)
    inboxes = {f"{bus.inbox}.rebuild.{number}": number for number in range(partitions)}

    def hear(message: Message) -> None:
        try:
            run.hear(inboxes[message.subject], RebuildReply.model_validate_json(message.body))
        except ValidationError:
            return  # a refusal, or nobody: whoever answers nothing for long is named

    heard = await bus.subscribe(f"{bus.inbox}.rebuild.*", hear)
    body = RebuildRequest(run=run.run).model_dump_json().encode()
    try:
        with _bar(console) as (progress, task):
            while not run.is_over:
                for inbox, number in inboxes.items():
                    await bus.publish(archive_subject(Partition(number), "rebuild"), body, reply=inbox)
                await asyncio.sleep(ASK_EVERY_S)
                done, total = run.events
                progress.update(task, completed=done, total=total, indexes=run.indexes)
    finally:
        await heard.unsubscribe()
    return run.indexes


@contextmanager
def _bar(console: Console) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.fields[indexes]} indexes"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} events"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield progress, progress.add_task("", total=0, indexes=0)
