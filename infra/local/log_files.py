"""The log files of the children: written by the children themselves, followed and bounded from here.

A child writes straight into its file: a stalled console or a dead supervisor can neither block it nor
lose its last words. Children append, so the file may be cut behind their back when it has grown too long.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.local.log_lines import shorten

FILE_BYTES_MAX = 64 * 1024 * 1024
_POLL_S = 0.25
_READ_BYTES_MAX = 256 * 1024


class LogFile:
    """One file, read from its present end on."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._partial = b""

    def new_lines(self) -> list[str]:
        """The whole lines that were written since the last call (of a burst, the first 256 KiB)."""
        if not self.path.exists():
            return []
        size = self.path.stat().st_size
        self._offset = min(self._offset, size)
        with self.path.open("rb") as file:
            file.seek(self._offset)
            read = file.read(_READ_BYTES_MAX)
        self._offset += len(read)
        *whole, self._partial = (self._partial + read).split(b"\n")
        if size > FILE_BYTES_MAX:
            self._turn()
        return [line.decode(errors="replace") for line in whole]

    def _turn(self) -> None:
        shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
        with self.path.open("ab") as file:
            file.truncate(0)
        self._offset = 0


def last_lines(path: Path, count: int) -> str:
    """The end of a log, for an error message."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _READ_BYTES_MAX))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


async def follow(files: Sequence[LogFile], say: Callable[[str, str], None], *, verbose: bool) -> None:
    """Say what the children log, in short form, until cancelled."""
    while True:
        for file in files:
            for line in file.new_lines():
                if (short := shorten(line, verbose=verbose)) is not None:
                    say(file.name, short)
        await asyncio.sleep(_POLL_S)
