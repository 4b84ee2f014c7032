"""The sequencers: up to two over the same log and the same buckets, and what both together must have kept.

Each runs the real ledger, `Checkpoints`, `Directory` and `Bucket`. One may stop at any step and come back
much later, with an old idea of the buckets and half a round before it; it may die; a bucket may be lost.
"""

from __future__ import annotations

import functools

from sequencer.bucket import Bucket
from sequencer.checkpoints import Checkpoints
from sequencer.core.belongings import entries
from sequencer.core.ledger import Ledger
from sequencer.directory import Directory
from sequencer.restored import confirm
from shared.errors import LogRegressed, ParleyError
from shared.ids import ChannelKey
from shared.records import Head as Announced
from shared.subjects import CHECKPOINTS, DIRECTORY, checkpoint_key
from tests.simulation.buckets import Buckets
from tests.simulation.bus import Bus
from tests.simulation.model import Truth, promise
from tests.simulation.network import Network
from tests.simulation.puller import Pull
from tests.simulation.streams import PARTITION, Log
from tests.simulation.turns import Works, strike

PENDING_MAX = 6
WRITES_IN_FLIGHT_MAX = 2
TURNS_MAX = 2_000


class Sequencer:
    """One process."""

    def __init__(self, buckets: Buckets, network: Network, log: Log) -> None:
        self.is_begun = False
        self.is_stopped = False
        self.heads: list[Announced] = []
        self._buckets = buckets
        self._log = log
        self._bus = Bus(network, buckets.told)
        self.works = Works()
        self.ledger: Ledger | None = None

    def start(self) -> None:
        """It reads the buckets, and follows the log from there on."""
        self.works.close()
        self.is_begun = True
        self.ledger = None
        self.heads = []
        self.works.add(self._load(), self)

    def kill(self) -> None:
        """It is gone, and started again when its turn comes."""
        if self.works.has("round"):
            strike("sequencer killed in a round")
        self.works.close()
        self.ledger = None

    async def _load(self) -> None:
        saved, listed = (
            Bucket(
                self._bus,
                name,
                replicas=1,
                in_flight_max=WRITES_IN_FLIGHT_MAX,
                confirm=functools.partial(confirm, self._bus),
            )
            for name in (CHECKPOINTS, DIRECTORY)
        )
        self._directory = Directory(self._bus, listed, partitions=1, linger_s=0.0, pending_max=PENDING_MAX)
        self._checkpoints = Checkpoints(self._bus, saved, self._directory)
        floor = self._log.floor
        try:
            (self.ledger,) = await self._checkpoints.load(1)
        except LogRegressed as error:
            # The log was trimmed while it read, or no archiver answers: it is started again.
            is_excused = self._log.floor > floor or "archive does not answer" in error.message
            promise(is_excused, f"a sequencer does not start: {error}")
            return
        except ParleyError:
            return  # nobody answers: it is started again
        promise(self.ledger.epoch == self._log.epoch, "a sequencer takes the log for another")
        self._pull = Pull(self._log, self.ledger.position + 1)
        self.works.add(self._directory.run())

    def follow(self, how: int) -> None:
        """Fold what a request brings."""
        if self.ledger is None:
            if not self.works.has(self):
                self.start()
            return
        if len(self._directory._pending) >= PENDING_MAX:
            strike("sequencer waited for its directory")
            return
        try:
            changes = self.ledger.fold(self._pull.take(how))
        except LogRegressed:
            promise(self._log.floor > self.ledger.position + 1, "a sequencer finds a log that has regressed")
            strike("sequencer behind the front of the log")
            self.start()
            return
        for change in changes:
            self._buckets.compare(change)
            self._directory.add(entries(change))
        self.heads += self.ledger.take_unannounced()

    def save(self) -> None:
        """A round begins, unless one is under way."""
        if self.ledger is not None and not self.works.has("round"):
            self.works.add(self._checkpoints.save([self.ledger]), "round", may_fail=True)

    def run(self, choice: int, turns: int) -> bool:
        """Let it go on; whether it still can."""
        for _ in range(turns):
            if not self.works.step(choice):
                return False
            choice = choice * 5 // 3 + 1
        return True


class Sequencing:
    """Both, and their buckets."""

    def __init__(self, truths: dict[ChannelKey, Truth]) -> None:
        self.buckets = Buckets(truths)
        self._truths = truths
        self.sequencers: list[Sequencer] = []

    def begin(self, network: Network, log: Log) -> None:
        """One starts."""
        self._network = network
        self._log = log
        self.sequencers = [Sequencer(self.buckets, network, log) for _ in range(2)]
        self.sequencers[1].is_stopped = True
        self.sequencers[0].start()
        self.sequencers[0].run(0, TURNS_MAX)

    def close(self) -> None:
        """No process goes on."""
        for sequencer in self.sequencers:
            sequencer.works.close()

    @property
    def _begun(self) -> list[Sequencer]:
        """Those that were ever started."""
        return [it for it in self.sequencers if it.is_begun]

    @property
    def _running(self) -> list[Sequencer]:
        return [it for it in self.sequencers if not it.is_stopped]

    def follow(self, a: int) -> None:
        """Those that run take what a request brings, and go on for a while."""
        for number, sequencer in enumerate(self._running):
            sequencer.follow(a >> 3 * number)
            sequencer.run(a, a // 56 % 32)

    def go_on(self, a: int, b: int) -> None:
        """One of them goes on."""
        if self._running:
            self._running[a % len(self._running)].run(b, 1 + a // 2 % 24)

    def save(self, a: int) -> None:
        """One of them begins a round."""
        if self._running:
            chosen = self._running[a % len(self._running)]
            chosen.save()
            chosen.run(a, a // 2 % 32)

    def crash(self, a: int) -> None:
        """One dies; it is started again."""
        self.sequencers[a % 2].kill()

    def stop(self, a: int) -> None:
        """One stops where it is, as a machine without power for its processor; or it comes back."""
        chosen = self.sequencers[a % 2]
        if not self.sequencers[1].is_begun:
            chosen = self.sequencers[1]
            chosen.start()
        chosen.is_stopped = not chosen.is_stopped
        ledger = chosen.ledger
        if (
            not chosen.is_stopped
            and ledger is not None
            and ledger.position < self.buckets.position.stream_seq
        ):
            strike("sequencer came back behind the other")

    def lose_bucket(self, a: int) -> None:
        """A bucket is deleted under them, or while all are stopped; or one is restored from a copy then."""
        if a % 2:
            for sequencer in self.sequencers:
                sequencer.kill()
        if a % 4 == 3:
            self.buckets.restore(a // 4, self._log.floor)
        else:
            self.buckets.delete(a // 4)

    def take_heads(self, a: int) -> list[Announced]:
        """What one of them tells about once a second: true, whoever it is, though it may be old."""
        chosen = self.sequencers[a % 2]
        heads, chosen.heads = chosen.heads, []
        for head in heads:
            facts = self._truths[ChannelKey(head.workspace, head.channel)].facts
            promise(facts[head.seq - 1].stream_seq == head.stream_seq, f"a head: {head.channel}/{head.seq}")
        return heads

    def settle(self) -> None:
        """Nothing happens any more: both take the whole log."""
        for sequencer in self._begun:
            sequencer.is_stopped = False
        for turn in range(TURNS_MAX):
            behind = [it for it in self._begun if it.ledger is None or it.ledger.position < self._log.last]
            for sequencer in behind:
                sequencer.follow(6)
            going = [it.run(turn, TURNS_MAX) for it in self._begun]
            if not behind and not any(going):
                return
        promise(False, "the sequencers never come to rest")

    def prove(self) -> None:
        """After a last round of one of them, the buckets hold everything, and all say the same."""
        buckets, last = self.buckets, self._log.last
        for number in range(4):  # a round that finds its bucket lost is repeated
            sequencer = self._begun[(last + number) % len(self._begun)]
            sequencer.save()
            promise(not sequencer.run(0, TURNS_MAX), "a round never ends")
            if buckets.position.stream_seq == last:
                break
        promise(buckets.position.stream_seq == last, f"saved: {buckets.position.stream_seq} of {last}")
        ledgers = [dict(it.ledger.checkpoints()) for it in self._begun if it.ledger]
        for key, truth in self._truths.items():
            saved, head = buckets.checkpoints.get(checkpoint_key(PARTITION, key)), len(truth.facts)
            promise(saved is not None and saved.seq == head, f"{key.channel}: the checkpoint is old")
            counted = [ledger[key].seq for ledger in ledgers]
            promise(counted == [head] * len(counted), f"{key.channel}: the sequencers are at {counted}")
            members = truth.facts[-1].state.members if truth.facts[-1].state else {}
            listed = {user: it.member for where, user, it in buckets.directory.values() if where == key}
            present = {user for user, is_member in listed.items() if is_member}
            promise(present == members.keys(), f"directory: {present} are in {key.channel}")
