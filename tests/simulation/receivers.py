"""The receivers: clients that come, stall, resume and go, and what each of them must have in the end."""

from __future__ import annotations

from collections.abc import Sequence

from shared.ids import ChannelKey, Epoch, UserId
from shared.records import Belonging
from tests.simulation.archive import Archives
from tests.simulation.buckets import Buckets
from tests.simulation.edges import Edge
from tests.simulation.model import Client, Place, Truth, promise
from tests.simulation.sessions import Session
from tests.simulation.turns import Current


class Receivers:
    """All programs that read, and the sessions of those that are connected."""

    def __init__(
        self,
        users: Sequence[UserId],
        truths: dict[ChannelKey, Truth],
        epoch: Epoch,
        archives: Archives,
        buckets: Buckets,
    ) -> None:
        self.clients = [Client(user) for user in users]
        self.seen = {(epoch, key.channel): truth for key, truth in truths.items()}
        self._truths = truths
        self._archives = archives
        self._buckets = buckets
        self._sessions: dict[int, Session] = {}
        """By the number of the client."""
        self._hints: list[tuple[Session, Belonging]] = []

    def connect(self, edge: Edge, a: int, b: int) -> None:
        """One that is away comes, with cursors or without."""
        number = a % len(self.clients)
        if number in self._sessions:
            return
        client = self.clients[number]
        session = Session(client, edge, self._archives, self.seen)
        self._sessions[number] = session
        cursors = {channel: Place(place.epoch, place.seq) for channel, place in client.kept.items()}
        for place in cursors.values() if b % 4 == 0 else ():
            place.seq = b // 4 % (place.seq + 1)  # an older copy of what it had
        directory = self._buckets.directory.values()
        listed = [key for key, user, it in directory if user == client.user and it.member]
        Current.works.add(session.run(listed, cursors if b % 4 < 3 else {}), session)

    def disconnect(self, a: int) -> None:
        """One goes."""
        session = self._sessions.pop(a % len(self.clients), None)
        if session is not None:
            session.close()

    def lose(self, edge: Edge) -> None:
        """The edge is gone, and everybody's connection to it."""
        for number, session in tuple(self._sessions.items()):
            if session.edge is edge:
                del self._sessions[number]
                session.close()

    def resume(self, key: ChannelKey, a: int, b: int) -> None:
        """One that reads asks again, for what follows an older event."""
        session = self._open_session(a)
        if session is not None and session.wire.is_flowing:
            place = session.client.places.get(key.channel)
            if place is not None and key.channel not in session.client.asked:
                session.resume(key.channel, b % (place.seq + 1))

    def stall(self, a: int) -> None:
        """One reads nothing more."""
        session = self._open_session(a)
        if session is not None:
            session.wire.is_read = False

    def read(self, a: int) -> None:
        """One reads on."""
        session = self._open_session(a)
        if session is not None:
            _read(session)

    def read_all(self) -> None:
        """Everybody reads on."""
        for session in self._sessions.values():
            _read(session)

    def hint(self, a: int) -> None:
        """What the sequencers say about memberships arrives at sessions, out of order."""
        news = self._buckets.news
        for user, belonging in news:
            self._hints += [(it, belonging) for it in self._sessions.values() if it.client.user == user]
        news.clear()
        if self._hints:
            session, belonging = self._hints.pop(a % len(self._hints))
            if session in self._sessions.values():
                session.roster.hint(belonging)

    def hint_all(self) -> None:
        """Everybody hears all that the directory knows of them."""
        for session in self._sessions.values():
            for _, user, belonging in self._buckets.directory.values():
                if user == session.client.user:
                    session.roster.hint(belonging)

    def prove(self) -> None:
        """Whoever is connected has everything, and nothing else."""
        for session in self._sessions.values():
            self._complete(session.client)

    def _complete(self, client: Client) -> None:
        for key, truth in self._truths.items():
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

    def _open_session(self, a: int) -> Session | None:
        session = self._sessions.get(a % len(self.clients))
        return session if session is not None and session.is_open else None


def _read(session: Session) -> None:
    session.wire.is_read = True
    session.wire.read()
    session.delivery.flowing()
