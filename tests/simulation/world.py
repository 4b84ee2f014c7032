"""One run: a system of two edges, a sequencer and an archiver, and everything that can happen to it.

What happens is a method with two numbers, and whatever it decides, it decides by these.
"""

from __future__ import annotations

from shared import events as e
from shared.ids import ChannelId, ChannelKey, CommandId, Epoch, UserId
from shared.records import Belonging
from tests.simulation.archive import prove
from tests.simulation.archiving import Archiving
from tests.simulation.back import Sequencer
from tests.simulation.bus import Bus, Log
from tests.simulation.edges import WORKSPACE, Edge, Session
from tests.simulation.model import Client, Place, Truth, promise
from tests.simulation.turns import Current, Works

ADMIN = UserId("ada")
USERS = tuple(UserId(name) for name in ("bob", "cyd", "dan"))
CHANNELS = tuple(ChannelKey(WORKSPACE, ChannelId(name)) for name in ("p_a", "p_b"))
EPOCH = Epoch("e1")
TURNS_MAX = 3_000


class World:
    """Everything, and the faults that can happen to it."""

    def __init__(self) -> None:
        Current.works = self.works = Works()
        self.log = Log()
        self.bus = Bus(self.log, lambda: self.sequencer.bucket)
        self.truths = {key: Truth(key) for key in CHANNELS}
        self.seen = {(EPOCH, key.channel): truth for key, truth in self.truths.items()}
        self.sequencer = Sequencer(self.log, self.truths)
        self.archiving = Archiving(self.log, self.truths, EPOCH, self.run)
        self.edges = [
            Edge(
                self.bus,
                self.archiving.archives,
                lambda: EPOCH,
                lambda: dict(self.sequencer.bucket.checkpoints),
            )
            for _ in range(2)
        ]
        self.clients = [Client(user) for user in USERS]
        self.sessions: dict[int, Session] = {}
        self.hints: list[tuple[Session, Belonging]] = []
        for key in CHANNELS:
            self._commit(
                key,
                e.ChannelCreated(
                    id=self._id(), author=ADMIN, channel_kind="private", name="x", members=USERS[:2]
                ),
            )

    # ------------------------------------------------------------ the log

    def _id(self) -> CommandId:
        return CommandId(f"{self.log.last + 1:08x}-0000-7000-8000-000000000000")

    def _commit(self, key: ChannelKey, event: e.KnownEvent | bytes) -> None:
        body = event if isinstance(event, bytes) else e.encode(event)
        stored = self.log.append(key, body)
        self.truths[key].record(stored.stream_seq, body)
        self.bus.republish(key, stored)

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

    def trim(self, a: int, _: int) -> None:
        """Retention: never above what a restart needs, whatever the edges have missed."""
        need = [self.sequencer.bucket.position, self.sequencer.ledger.position, self.archiving.watermark]
        self.log.floor = max(self.log.floor, min(need) + 1 - a % 2)

    # ------------------------------------------------------------ the bus

    def lag(self, a: int, _: int) -> None:
        self.bus.lag = (0, 0, 1, 2, 5)[a % 5]

    def bus_away(self, a: int, _: int) -> None:
        self.bus.is_away = a % 3 == 0

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

    def heads(self, a: int, _: int) -> None:
        """What the sequencer tells once a second: may be lost for either edge."""
        heads, self.sequencer.heads = self.sequencer.heads, []
        for number, edge in enumerate(self.edges):
            for head in heads if a >> number & 1 else ():
                feed = edge.feeds.get(ChannelKey(head.workspace, head.channel))
                if feed is not None:
                    feed.want(head.stream_seq)

    def hint(self, a: int, _: int) -> None:
        """What the sequencer says about memberships arrives at sessions, out of order."""
        for _key, user, belonging in self.sequencer.news:
            self.hints += [(it, belonging) for it in self.sessions.values() if it.client.user == user]
        self.sequencer.news.clear()
        if self.hints:
            session, belonging = self.hints.pop(a % len(self.hints))
            if session in self.sessions.values():
                session.roster.hint(belonging)

    def follow(self, a: int, b: int) -> None:
        self.sequencer.follow(a)
        self.archiving.follow(b)

    def save(self, a: int, _: int) -> None:
        self.sequencer.save(a)

    def crash_sequencer(self, a: int, _: int) -> None:
        self.sequencer.crash(a)

    # ------------------------------------------------------------ the clients

    def connect(self, a: int, b: int) -> None:
        number = a % len(USERS)
        if number in self.sessions:
            return
        client = self.clients[number]
        session = Session(client, self.edges[b % 2], self.archiving.archives, self.seen)
        self.sessions[number] = session
        cursors = {channel: Place(place.epoch, place.seq) for channel, place in client.kept.items()}
        for place in cursors.values() if b // 2 % 4 == 0 else ():
            place.seq = b // 8 % (place.seq + 1)  # an older copy of what it had
        listed = [
            key for (key, user), it in self.sequencer.directory.items() if user == client.user and it.member
        ]
        self.works.add(session.run(listed, cursors if b // 2 % 4 < 3 else {}), session)

    def disconnect(self, a: int, _: int) -> None:
        session = self.sessions.pop(a % len(USERS), None)
        if session is not None:
            session.close()

    def resume(self, a: int, b: int) -> None:
        session = self._open_session(a)
        if session is not None and session.wire.is_flowing:
            channel = CHANNELS[b % 2].channel
            place = session.client.places.get(channel)
            if place is not None and channel not in session.client.asked:
                session.resume(channel, b // 2 % (place.seq + 1))

    def stall(self, a: int, _: int) -> None:
        session = self._open_session(a)
        if session is not None:
            session.wire.is_read = False

    def read(self, a: int, _: int) -> None:
        session = self._open_session(a)
        if session is not None:
            self._read(session)

    def wait(self, a: int, _: int) -> None:
        self.works.now_s += (1.0, 11.0)[a % 2]

    def _read(self, session: Session) -> None:
        session.wire.is_read = True
        session.wire.read()
        session.delivery.flowing()

    def _open_session(self, a: int) -> Session | None:
        session = self.sessions.get(a % len(USERS))
        return session if session is not None and session.is_open else None

    # ------------------------------------------------------------ the end

    def settle(self) -> None:
        """No faults any more: whoever is connected gets everything, and nothing else."""
        self.bus.is_away, self.bus.lag = False, 0
        prove(self.archiving.disk, self.truths)
        self.bus.forget_doubles()
        for session in self.sessions.values():
            self._read(session)
        while self.sequencer.ledger.position < self.log.last or self.archiving.is_behind(self.log.last):
            self.follow(6, 6)
        self._drain()
        for edge in (0, 1):
            self.sweep(edge, 0)
        self._drain()
        for session in self.sessions.values():
            for (_, user), belonging in self.sequencer.directory.items():
                if user == session.client.user:
                    session.roster.hint(belonging)
        self._drain()
        for session in self.sessions.values():
            self._complete(session)

    def _drain(self) -> None:
        for turn in range(TURNS_MAX):
            if not self.works.step(turn):
                return
        promise(False, "it never comes to rest")

    def _complete(self, session: Session) -> None:
        client = session.client
        for key, truth in self.truths.items():
            head, place = len(truth.facts), client.places.get(key.channel)
            where = f"{client.user} in {key.channel}"
            if truth.is_member(client.user, head):
                promise(place is not None, f"{where}: a member and not attached")
                assert place is not None
                promise(place.seq == head, f"{where}: stopped at {place.seq} of {head}")
            else:
                promise(place is None, f"{where}: no member and not told")
            open_ = key.channel in client.asked and key.channel not in client.may_go_unanswered
            promise(not open_, f"{where}: a cursor was never answered")
