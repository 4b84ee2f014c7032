"""The life of the archivers: started, fenced, killed, without power, and what they must have kept."""

from __future__ import annotations

import errno
from collections.abc import Callable

from archiver.manifest_store import Fenced
from shared.ids import ChannelKey, Epoch, StreamSeq
from tests.simulation.archive import Archiver, Archives
from tests.simulation.bus import Log
from tests.simulation.disk import Died, Disk
from tests.simulation.model import Truth, promise

ORPHAN_GRACE_S = 10.0
CHANGES = 24
"""A commit changes the disk about so often: something can happen before each."""

_NOTHING = 7


class Archiving:
    """One disk, and up to two archivers that believe it to be theirs."""

    def __init__(
        self, log: Log, truths: dict[ChannelKey, Truth], epoch: Epoch, run: Callable[[int, int], None]
    ) -> None:
        self._log = log
        self._truths = truths
        self._epoch = epoch
        self._run = run
        self.disk = Disk()
        self.archivers: list[Archiver] = []
        self.archives = Archives(self.archivers)
        self.watermark = StreamSeq(0)
        """What an archiver has said is archived: the log may be trimmed up to there."""
        self.start_archiver(CHANGES * _NOTHING, 0)

    def is_behind(self, last: StreamSeq) -> bool:
        """Whether no archiver has taken the log up to there; there is one from now on."""
        if not self.archivers:
            self.start_archiver(CHANGES * _NOTHING, 0)
        return all(archiver.applied < last for archiver in self.archivers)

    def follow(self, how: int) -> None:
        """Each takes what a request brings."""
        for archiver in tuple(self.archivers):
            try:
                archiver.follow(how)
            except Fenced:
                self.archivers.remove(archiver)

    def start_archiver(self, a: int, b: int) -> None:
        """The first one, or one more: it fences the other, which does not know."""
        if len(self.archivers) < 2:
            self._write(None, a, b)

    def commit(self, a: int, b: int) -> None:
        if self.archivers:
            self._write(self.archivers[a % len(self.archivers)], a // 2, b)

    def sweep_disk(self, a: int, b: int) -> None:
        if self.archivers:
            self._write(self.archivers[a % len(self.archivers)], a // 2, b, is_sweep=True)

    def crash_archiver(self, a: int, b: int) -> None:
        """One process is killed, or the power fails for all."""
        if a % 2:
            self._power_fails(b)
        elif self.archivers:
            del self.archivers[b % len(self.archivers)]

    def _write(self, one: Archiver | None, a: int, b: int, *, is_sweep: bool = False) -> None:
        """Let an archiver write; before one of its changes of the disk something happens."""
        self.disk.interrupt(a % CHANGES, self._meanwhile(one, a // CHANGES % 8, b))
        try:
            if one is None:
                one = Archiver(self.disk, self._log, self._truths, self._epoch)
                promise(one.hi >= self.watermark, f"archived up to {one.hi}, {self.watermark} was promised")
                self.archivers.append(one)
            elif is_sweep:
                one.archive.sweep(ORPHAN_GRACE_S)
            else:
                one.commit()
                self.watermark = max(self.watermark, one.hi)
        except (Died, Fenced):
            self.archivers[:] = [other for other in self.archivers if other is not one]
        except OSError:
            pass  # it tries again
        finally:
            self.disk.is_dead = False
            self.disk.interrupt(0, None)

    def _meanwhile(self, one: Archiver | None, what: int, b: int) -> Callable[[], None] | None:
        """Another process, or another thread of the same one."""

        def die() -> None:
            self.disk.is_dead = True
            raise Died

        def lose_power() -> None:
            self._power_fails(b)
            die()

        def refuse() -> None:
            raise OSError(errno.ENOSPC, "no space left")

        def overtake() -> None:
            other = next((it for it in self.archivers if it is not one), None)
            if other is None and len(self.archivers) < 2:
                self._write(None, 0, 0)
            elif other is not None:
                self._write(other, 0, 0)

        def go_on() -> None:
            if one is not None:
                one.follow(b)
            self._run(b, b // 16)

        return (die, lose_power, refuse, overtake, overtake, go_on, None, None)[what]

    def _power_fails(self, chance: int) -> None:
        self.archivers.clear()
        self.disk.fail(chance)
