"""One run: a system of two edges, up to two sequencers and archivers, and everything that can happen to it.

What happens is a method with two numbers, and whatever it decides, it decides by these.
"""

from __future__ import annotations

from shared import events as e
from shared.envelope import StoredMessage
from shared.ids import ChannelId, ChannelKey, CommandId, Epoch, UserId
from tests.simulation.archive import prove
from tests.simulation.archiving import Archiving
from tests.simulation.edges import WORKSPACE, Edge
from tests.simulation.model import Truth, promise
from tests.simulation.network import Network
from tests.simulation.receivers import Receivers
from tests.simulation.senders import Senders, command_id
from tests.simulation.sequencing import Sequencing
from tests.simulation.streams import Log, now_us
from tests.simulation.turns import Current, strike

ADMIN = UserId("ada")
USERS = tuple(UserId(name) for name in ("bob", "cyd", "dan"))
CHANNELS = tuple(ChannelKey(WORKSPACE, ChannelId(name)) for name in ("p_a", "p_b"))
EPOCH = Epoch("e1")
TURNS_MAX = 3_000


class World:
    """Everything, and the faults that can happen to it."""

    def __init__(self) -> None:
        self.works = Current.begin()
        self.log = Log(EPOCH, CHANNELS, self._recorded)
        self.truths = {key: Truth(key) for key in CHANNELS}
        self.sequencing = Sequencing(self.truths)
        buckets = self.sequencing.buckets
        self.archiving = Archiving(self.log, self.truths, EPOCH, self.run)
        self.network = Network([self.log, buckets.saved, buckets.listed], self.archiving.archives.answer)
        self.senders = Senders(self.log, self.truths, (ADMIN, ADMIN, *USERS))
        self.edges = [self._edge(), self._edge()]
        self.receivers = Receivers(USERS, self.truths, EPOCH, self.archiving.archives, buckets)
        self._ids = 0
        self.sequencing.begin(self.network, self.log)
        for key in CHANNELS:
            self._commit(
                key,
                e.ChannelCreated(
                    id=self._id(), author=ADMIN, channel_kind="private", name="x", members=USERS[:2]
                ),
            )

    def close(self) -> None:
        """Whatever was begun ends here."""
        self.works.close()
        self.sequencing.close()

    def _edge(self) -> Edge:
        return Edge(self.network, lambda: EPOCH, self.archiving.archives)

    # ------------------------------------------------------------ the log

    def _recorded(self, key: ChannelKey, stored: StoredMessage) -> None:
        """The log has committed something, whoever it is from."""
        self.truths[key].record(stored)
        self.senders.recorded(stored)
        self.network.republish(key, stored)

    def _id(self) -> CommandId:
        self._ids += 1
        return command_id(now_us() // 1000, 1_000_000 + self._ids)

    def _commit(self, key: ChannelKey, event: e.KnownEvent | bytes) -> None:
        self.log.append(key, event if isinstance(event, bytes) else e.encode(event))

    def publish(self, a: int, b: int) -> None:
        key, user = CHANNELS[a % 2], USERS[b % len(USERS)]
        match a // 2 % 16:
            case 0 | 1 | 2:
                self._commit(key, e.MemberInvited(id=self._id(), author=ADMIN, user=user))
            case 3 | 4:
                self._commit(key, e.MemberRemoved(id=self._id(), author=ADMIN, user=user))
            case 5:
                self._commit(key, e.MemberLeft(id=self._id(), author=user))
            case 6:
                self._commit(key, b"no event")
            case 7:
                self._commit(key, e.MessagePosted(id=self._id(), author=user, text="perhaps void"))
            case _:
                self._commit(key, e.MessagePosted(id=self._id(), author=ADMIN, text="x"))

    def trim(self, a: int, b: int) -> None:
        """Retention: never above what a restart needs, whatever the edges have missed."""
        if b % 4 == 2:  # it can be much
            self.sequencing.follow(6)
            self.archiving.commit_all()
            self.sequencing.save(62 + a % 2)
        need = [self.sequencing.buckets.complete_up_to, self.archiving.watermark]
        floor = min(need) + 1 - a % 2
        if floor > self.log.floor:
            self.log.floor = floor
            strike("log trimmed")

    # ------------------------------------------------------------ the bus

    def lag(self, a: int, _: int) -> None:
        self.network.lag = (0, 0, 1, 2, 5)[a % 5]

    def bus_away(self, a: int, _: int) -> None:
        self.network.is_away = a % 3 == 0

    def wait(self, a: int, _: int) -> None:
        """Time passes: a moment, until old ids are late, until the window has ended."""
        Current.now_s += (1.0, 11.0, 57.0, 61.0, 1.0, 121.0)[a % 6]

    def run(self, a: int, b: int) -> None:
        for _ in range(1 + b % 16):
            if not self.works.step(a):
                return
            a = a * 5 // 3 + 1

    def sweep(self, a: int, _: int) -> None:
        for feed in list(self.edges[a % 2].feeds.values()):
            if not feed.closed:
                feed.look()

    # ------------------------------------------------------------ the services

    def heads(self, a: int, b: int) -> None:
        """What a sequencer tells once a second: may be lost for either edge."""
        heads = self.sequencing.take_heads(b)
        for number, edge in enumerate(self.edges):
            for head in heads if a >> number & 1 else ():
                feed = edge.feeds.get(ChannelKey(head.workspace, head.channel))
                if feed is not None:
                    feed.want(head.stream_seq)

    def follow(self, a: int, b: int) -> None:
        self.sequencing.follow(a)
        self.archiving.follow(b)

    def save(self, a: int, _: int) -> None:
        self.sequencing.save(a)

    def freeze_edge(self, a: int, b: int) -> None:
        """An edge does not get its turn, however much time passes; or it goes on."""
        owners = {self.edges[a % 2], self.edges[a % 2].bus}
        if owners <= self.works.frozen:
            self.works.frozen -= owners
            return
        self.works.frozen |= owners
        self.wait(b, 0)
        if self.works.has(self.edges[a % 2]):
            strike("edge frozen at work")

    def kill_edge(self, a: int, b: int) -> None:
        """It is gone with everything in it; another one takes its place."""
        edge = self.edges[a % 2]
        self.receivers.lose(edge)
        if self.works.has(edge):
            strike("edge killed at work")
        self.network.killed(edge.bus, b)
        self.works.end(edge)
        self.works.end(edge.bus)
        self.works.frozen -= {edge, edge.bus}
        self.edges[a % 2] = self._edge()

    # ------------------------------------------------------------ the senders

    def order(self, a: int, b: int) -> None:
        self.senders.order(self.edges[b % 2], self.edges[1 - b % 2], CHANNELS[b // 2 % 2], a, b // 4)

    def again(self, a: int, b: int) -> None:
        self.senders.again(self.edges[b % 2], a, b // 2)

    def create_again(self, a: int, b: int) -> None:
        self.senders.create_again(self.edges[b % 2], CHANNELS[a % 2], b // 2)

    # ------------------------------------------------------------ the receivers

    def connect(self, a: int, b: int) -> None:
        self.receivers.connect(self.edges[b % 2], a, b // 2)

    def resume(self, a: int, b: int) -> None:
        self.receivers.resume(CHANNELS[b % 2], a, b // 2)

    # ------------------------------------------------------------ the end

    def settle(self) -> None:
        """No faults any more: whoever is connected gets everything, and nothing else."""
        self.network.heal()
        self.works.frozen.clear()
        prove(self.archiving.disk, self.truths)
        self.receivers.read_all()
        self._follow_all()
        if self.sequencing.buckets.was_lost:  # edges wait for checkpoints that are being written again
            self.sequencing.prove()
        self._drain()
        if self.log.last % 2:
            self._forget_all()
        self.senders.settle(self.edges, self._drain)
        self._follow_all()
        for number in range(len(self.edges)):
            self.sweep(number, 0)
        self._drain()
        self.sequencing.prove()
        self.receivers.hint_all()
        self._drain()
        self.receivers.prove()

    def _forget_all(self) -> None:
        """Everything but Parquet and the checkpoints has forgotten what was sent; perhaps the edges, too."""
        self._follow_all()
        self.archiving.commit_all()
        self.sequencing.prove()
        self.trim(2, 0)
        if self.log.last % 8 == 1:
            self.network.lag = 2
            for number in range(len(self.edges)):
                self.kill_edge(number, 0)
                self.works.add(self.edges[number].activate(CHANNELS), self.edges[number])
            self._drain()
            self.network.heal()

    def _follow_all(self) -> None:
        self._archive_all()
        self.sequencing.settle()

    def _archive_all(self) -> None:
        while self.archiving.is_behind(self.log.last):
            self.archiving.follow(6)

    def _drain(self) -> None:
        for turn in range(TURNS_MAX):
            if turn % 50 == 0:
                self.network.forget_doubles()
                self._archive_all()
            if not self.works.step(turn):
                self._archive_all()
                return
        promise(False, "it never comes to rest")
