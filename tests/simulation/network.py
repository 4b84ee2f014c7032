"""What lies between the processes and JetStream: live messages, commits, and what befalls them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from shared.clock import rfc3339
from shared.envelope import Message, PubAck, StoredMessage
from shared.errors import ParleyError
from shared.ids import ChannelKey
from shared.subjects import live_subject
from tests.simulation.streams import PARTITION, Log, Request, Stream
from tests.simulation.turns import Current, strike

STRAGGLER_S_MAX = 10.0
"""How late a request may arrive: connections that say nothing are given up long before."""

WINDOW_S = 120.0


class Fate(Enum):
    """What becomes of a commit."""

    ANSWERED = "answered"
    LOST = "lost"
    UNANSWERED = "stored, and nobody hears of it"
    LATE = "stored after its sender has given it up"
    STUCK = "its id is in process until the window ends"


_FATES = (Fate.LOST, Fate.UNANSWERED, Fate.LATE, Fate.STUCK)


@dataclass(slots=True, eq=False)
class Inbox:
    """A live subscription: what is on its way to it."""

    subject: str
    callback: Callable[[Message], None]
    owner: object
    everyone: list[Inbox]
    waiting: list[Message] = field(default_factory=list)
    highest: int = 0
    """The sequence up to which messages have been seen here."""

    async def unsubscribe(self) -> None:
        if self in self.everyone:
            self.everyone.remove(self)

    def receive(self, message: Message) -> None:
        sequence = int(message.headers["Nats-Sequence"])
        if sequence < self.highest:
            strike("live message late")
        self.highest = max(self.highest, sequence)
        self.callback(message)


@dataclass(slots=True, eq=False)
class Flight:
    """A commit between its sender and its stream: one message, or a batch."""

    stream: Stream
    requests: Sequence[Request]
    owner: object
    sent_s: float
    fate: Fate | None = None
    outcome: list[PubAck] | ParleyError | None = None

    def arrive(self) -> None:
        """The stream's leader takes it."""
        if self.stream.created <= 0 or Current.now_s - self.sent_s > STRAGGLER_S_MAX:
            return  # nobody listens, or the connection is gone that carried it
        try:
            self.outcome = self.stream.commit(self.requests)
        except ParleyError as error:
            self.outcome = error


class Network:
    """One for all processes."""

    def __init__(self, streams: Sequence[Stream], asked: Callable[[str, bytes], bytes]) -> None:
        self.asked = asked
        """What an archiver answers."""
        self.streams: Mapping[str, Stream] = {stream.name: stream for stream in streams}
        self.inboxes: list[Inbox] = []
        self.flights: list[Flight] = []
        self.lag = 0
        """How many messages the replica that answers is behind."""
        self.is_away = False
        self.is_quiet = False
        """Nothing happens between a question of a sequencer and its answer any more."""
        self._fates: deque[Fate] = deque(maxlen=8)
        self._stragglers: list[Flight] = []

    # ------------------------------------------------------------ live messages

    def republish(self, key: ChannelKey, stored: StoredMessage) -> None:
        """What the log's leader does after a commit."""
        subject = live_subject(PARTITION, key)
        headers: dict[str, str] = {}
        for inbox in self.inboxes:
            if inbox.subject == subject:
                headers = headers or {
                    "Nats-Subject": stored.subject,
                    "Nats-Sequence": str(stored.stream_seq),
                    "Nats-Time-Stamp": rfc3339(stored.at_us),
                    "Nats-Last-Sequence": str(stored.last_seq),
                }
                inbox.waiting.append(Message(subject, stored.body, headers, ""))

    def deliver(self, which: int, how: int) -> None:
        """One message arrives somewhere: as it should, or lost, doubled, or out of order."""
        busy = [inbox for inbox in self.inboxes if inbox.waiting]
        if not busy:
            return
        inbox = busy[which % len(busy)]
        fate = how % 16
        index = 1 if fate in {1, 2} and len(inbox.waiting) > 1 else 0
        message = inbox.waiting[index]
        if fate not in {3, 4}:
            del inbox.waiting[index]
        if index:
            strike("live message early")
        if fate in {3, 4}:
            strike("live message doubled")
        if fate in {5, 6}:
            strike("live message lost")
        else:
            inbox.receive(message)

    def forget_doubles(self) -> None:
        """Quiet again: what waits arrives, each once."""
        for inbox in list(self.inboxes):
            waiting, inbox.waiting = inbox.waiting, []
            for message in waiting:
                inbox.receive(message)

    # ------------------------------------------------------------ commits

    def trouble(self, a: int, b: int) -> None:
        """Something will befall one of the next commits, or one that was given up arrives now."""
        if self._stragglers and b % 2:
            straggler = self._stragglers.pop(a % len(self._stragglers))
            straggler.arrive()
            if straggler.outcome is not None:
                strike("commit arrived late")
            return
        self._fates.extend([Fate.ANSWERED] * (b // 2 % 3))
        self._fates.append(_FATES[a % len(_FATES)])

    def elect(self, a: int, b: int) -> None:
        """The log's leader changes: what is under way is lost or stored unheard, live messages are lost."""
        for number, flight in enumerate(self.flights):
            if flight.fate in {None, Fate.ANSWERED}:
                is_stored = flight.fate is Fate.ANSWERED or a >> number & 1
                flight.fate = Fate.UNANSWERED if is_stored else Fate.LOST
                strike("leader changed under a commit")
        for number, inbox in enumerate(self.inboxes):
            if b >> number & 1 and inbox.waiting:
                del inbox.waiting[-1 - b % 3 :]
                strike("live message lost with its leader")

    def next_fate(self, flight: Flight) -> Fate:
        """What becomes of a commit that is on its way now."""
        if flight.fate is None:
            flight.fate = self._fates.popleft() if self._fates else Fate.ANSWERED
        if self.is_away:
            flight.fate = Fate.LOST
        return flight.fate

    def carry(self, flight: Flight) -> None:
        """The commit gets where its fate leads it."""
        fate = self.next_fate(flight)
        if fate in {Fate.ANSWERED, Fate.UNANSWERED}:
            flight.arrive()
        elif fate is Fate.LATE:
            self._stragglers.append(flight)
        elif fate is Fate.STUCK and isinstance(flight.stream, Log):
            for request in flight.requests:
                flight.stream.stuck[request.msg_id or ""] = Current.now_s + WINDOW_S
        if fate is Fate.LOST:
            strike("commit lost")
        elif fate is Fate.UNANSWERED:
            strike("commit unanswered")

    def over(self, flight: Flight) -> None:
        """Nobody waits for its answer any more."""
        if flight in self.flights:
            self.flights.remove(flight)

    def killed(self, owner: object, bits: int) -> None:
        """A process is gone: what it has sent is stored or not, and nobody waits for what comes to it."""
        for number, flight in enumerate(tuple(it for it in self.flights if it.owner is owner)):
            strike("edge killed under a commit")
            if flight.fate is None and bits >> number & 1:
                flight.arrive()
            self.over(flight)
        self.inboxes[:] = [inbox for inbox in self.inboxes if inbox.owner is not owner]

    def heal(self) -> None:
        """No trouble any more."""
        self.is_away, self.lag = False, 0
        self.is_quiet = True
        self._fates.clear()
        self._stragglers.clear()
