"""What runs in a data directory right now: `run.json`, written by the supervisor, read by everybody else.

Whether it is true is not guessed from process ids, which the system reuses: the supervisor holds a lock on
`lock` for as long as it lives, and the kernel releases it however the supervisor ends.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.errors import Misconfigured


class RunningProcess(BaseModel):
    """One child: `url` is where it answers (`/readyz` below it), `restarts` how often it died."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["nats", "sequencer", "archiver", "reader", "edge"]
    pid: int | None
    url: str
    ready_path: str = "/readyz"
    restarts: int = 0
    partitions: str = ""
    """What it has of them, where they are divided: `0-3`."""


class Run(BaseModel):
    """One supervisor and its children; addresses do not change while it runs."""

    model_config = ConfigDict(frozen=True)

    supervisor: int
    state: Literal["starting", "ready", "stopping"]
    nats_url: str
    partitions: int
    replicas: int
    edges: tuple[str, ...]
    """The address of each edge, for who wants a certain one."""
    page: str
    """The address that people open: the one that all edges share, or that of the only edge."""
    processes: tuple[RunningProcess, ...] = ()

    def process(self, name: str) -> RunningProcess:
        """The child of that name (`nats-1`, `edge-1`, `sequencer`; `sequencer-1` where there are several)."""
        return next(process for process in self.processes if process.name == name)


@contextlib.contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Be the only supervisor of this directory; raises `Misconfigured` if there is one."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise Misconfigured(f"{lock.parent} cannot be a data directory: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Misconfigured(
                f"Parley already runs in {lock.parent}: see `parley status`, or stop it with `parley down`"
            ) from error
        yield


def held(lock: Path) -> bool:
    """Whether a supervisor lives."""
    if not lock.exists():
        return False
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def write_run(path: Path, run: Run) -> None:
    """Replace the file at once: a reader sees the old one or the new one."""
    partial = path.with_suffix(".partial")
    partial.write_text(run.model_dump_json(indent=2))
    partial.replace(path)
