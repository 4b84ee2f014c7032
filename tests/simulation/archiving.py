"""The life of the archivers: started, fenced, killed, without power, and what they must have kept."""

from __future__ import annotations

import errno
from collections.abc import Callable

from archiver.manifest_store import Fenced
from shared.errors import LogRegressed
from shared.ids import ChannelKey, Epoch, StreamSeq
from tests.simulation.archive import Archiver, Archives
from tests.simulation.disk import Died, Disk
from tests.simulation.model import Truth, promise
from tests.simulation.streams import Log
from tests.simulation.turns import Current, strike

ORPHAN_GRACE_S = 10.0
CHANGES = 16
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
        """Each takes what a request brings; of two, one may be busy otherwise."""
        for number, archiver in enumerate(tuple(self.archivers)):
            if number and how >> 9 & 1:
                break
            self._follow(archiver, how)

    def _follow(self, archiver: Archiver, how: int) -> None:
        try:
            archiver.follow(how)
        except Fenced:
            self.archivers.remove(archiver)
            strike("archiver fenced")
        except LogRegressed:  # another one has archived it, and the log was trimmed
            promise(self._log.floor > archiver.applied + 1, "an archiver finds a log that has regressed")
            self.archivers.remove(archiver)
            strike("archiver behind the front of the log")

    def start_archiver(self, a: int, b: int) -> None:
        """The first one, or one more: it fences the other, which does not know."""
        if len(self.archivers) < 2:
            self._write(None, a, b)

    def commit(self, a: int, b: int) -> None:
        if self.archivers:
            self._write(self.archivers[a % len(self.archivers)], a // 2, b)

    def commit_all(self) -> None:
        """The newest takes the whole log and commits it: nothing happens meanwhile, not even to the other."""
        while self.is_behind(self._log.last):
            self._follow(self.archivers[-1], 6)
        if self.archivers:
            self._write(self.archivers[-1], CHANGES * _NOTHING, 0)

    def sweep_disk(self, a: int, b: int) -> None:
        """Most often everything on the disk is older than the grace by then."""
        Current.now_s += (ORPHAN_GRACE_S + 1) * (b % 4 > 0)
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
                one.sweep(ORPHAN_GRACE_S)
            else:
                one.commit()
                self.watermark = max(self.watermark, one.hi)
                one.merge()
        except (Died, Fenced) as end:
            strike(
                "archiver fenced"
                if isinstance(end, Fenced)
                else f"archiver killed before {self.disk.next_change}"
            )
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
            strike("disk refused")
            raise OSError(errno.ENOSPC, "no space left")

        def overtake() -> None:
            strike(f"archiver overtaken before {self.disk.next_change}")
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
        strike("power failed")
        self.disk.fail(chance)
