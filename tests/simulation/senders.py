"""The senders: commands under ids that are kept for every retry, and what each answer may say.

The reference is the log: an id stands in it once, every answer names its first number, another body under the
same id is a conflict, and who hears `unavailable` has left no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from edge.core.recording import Recording
from shared import events as e
from shared.envelope import StoredMessage
from shared.errors import ClockSkew, Conflict, Forbidden, OutcomeUnknown, ParleyError, Unavailable
from shared.fingerprints import fingerprint
from shared.ids import ChannelKey, CommandId, UserId, command_time_ms
from tests.simulation.edges import Edge
from tests.simulation.model import Fact, Truth, promise
from tests.simulation.streams import Log, now_us
from tests.simulation.turns import Current, Future, strike, until

AGES_S = (0.0, 0.0, -38.0, -55.0, 30.0, 59.0, 100.0, 3_000.0)
"""How old an id is when it is used first: fresh, of a clock that is ahead, from an outbox, or imported."""

IMPORTED_MAX = 5
"""Old ids that one program hands over at once."""

AFTER_WINDOW_S = 200.0
ROUNDS_MAX = 8
_HEADER = "Sim-Attempt"


@dataclass(slots=True, eq=False)
class Attempt:
    """A command once given to an edge; `stored`: the log holds it because of this one."""

    number: int
    key: ChannelKey
    event: e.KnownEvent
    stored: int = 0
    is_refused: bool = False
    is_answered: bool = False


@dataclass(slots=True)
class Senders:
    """All programs that write."""

    log: Log
    truths: dict[ChannelKey, Truth]
    users: Sequence[UserId]
    attempts: list[Attempt] = field(default_factory=list)
    orders: list[Attempt] = field(default_factory=list)
    """The first attempt of each command."""

    def recorded(self, stored: StoredMessage) -> None:
        """The log has taken something; perhaps from one of us."""
        number = stored.headers.get(_HEADER)
        if number is not None:
            attempt = self.attempts[int(number)]
            promise(not attempt.is_refused, f"{attempt.event.id} was not recorded, and is")
            attempt.stored = stored.stream_seq

    def order(self, edge: Edge, other: Edge, key: ChannelKey, a: int, b: int) -> None:
        """New commands; old ids come several at once, in the order of their time or not, or on two edges."""
        age_s = AGES_S[a % len(AGES_S)]
        count = 1 + a // 8 % IMPORTED_MAX if age_s > 60.0 else 1
        made = []
        for number in range(count):
            at_ms = now_us() // 1000 - int(age_s * 1000) + number
            author = self.users[b % len(self.users)]
            id_ = command_id(at_ms, len(self.orders))
            event = e.MessagePosted(id=id_, author=author, text="once")
            made.append(self._attempt(key, event))
            self.orders.append(made[-1])
        if b // 8 % 4 == 0:
            made.reverse()
        self._hand_over(edge, made)
        if b // 32 % 4 == 0:
            self._hand_over(other, [self._attempt(key, it.event) for it in made])

    def again(self, edge: Edge, a: int, b: int) -> None:
        """An earlier command once more: sooner or later, here or elsewhere, perhaps with other words."""
        if not self.orders:
            return
        first = self.orders[a % len(self.orders)]
        event = first.event
        if b % 8 == 0:
            event = replace(event, text="otherwise")
        self._hand_over(edge, [self._attempt(first.key, event)])

    def create_again(self, edge: Edge, key: ChannelKey, b: int) -> None:
        """The channel's creation once more, or another one."""
        event = self.truths[key].facts[0].event
        assert isinstance(event, e.ChannelCreated)
        if b % 4 == 0:
            event = replace(event, name="y")
        attempt = self._attempt(key, event)
        Current.works.add(self._create(edge, attempt), edge)

    def _attempt(self, key: ChannelKey, event: e.KnownEvent) -> Attempt:
        attempt = Attempt(len(self.attempts), key, event)
        self.attempts.append(attempt)
        return attempt

    def _hand_over(self, edge: Edge, attempts: Sequence[Attempt]) -> None:
        Current.works.add(self._send(edge, attempts), edge)

    async def _create(self, edge: Edge, attempt: Attempt) -> None:
        assert isinstance(attempt.event, e.ChannelCreated)
        try:
            _, found = await edge.publisher.create(attempt.key, attempt.event)
        except ParleyError as error:
            self._judge(attempt, error)
        else:
            self._judge(attempt, found)

    async def _send(self, edge: Edge, attempts: Sequence[Attempt]) -> None:
        """All of one channel; as `Commands` hands them to the publisher."""
        try:
            feed = (await edge.activate([attempts[0].key]))[attempts[0].key]
        except Unavailable:
            return
        assert feed is not None
        futures: list[Future[Recording]] = []
        for attempt in attempts:
            headers = {_HEADER: str(attempt.number)}
            if edge.publisher.is_late(attempt.event):
                try:
                    futures.append(edge.publisher.record_late(feed, attempt.event, headers))  # type: ignore[arg-type]
                except ParleyError as error:
                    futures.append(_failed(error))
            else:
                await until()  # it may have to wait for what is before it
                futures.append(self._fresh(edge, feed, attempt, headers))
        for attempt, future in zip(attempts, futures, strict=True):
            try:
                found = await future
            except ParleyError as error:
                self._judge(attempt, error)
            else:
                self._judge(attempt, found)

    def _fresh(
        self, edge: Edge, feed: object, attempt: Attempt, headers: dict[str, str]
    ) -> Future[Recording]:
        future: Future[Recording] = Future()

        def then(outcome: Recording | ParleyError) -> None:
            if isinstance(outcome, ParleyError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        try:
            edge.publisher.record_fresh(feed, attempt.event, headers, then)  # type: ignore[arg-type]
        except ParleyError as error:
            future.set_exception(error)
        return future

    # ------------------------------------------------------------ what an answer may say

    def _judge(self, attempt: Attempt, outcome: Recording | ParleyError) -> None:
        event = attempt.event
        fact = self.truths[attempt.key].named.get((event.author, event.id))
        where = f"{attempt.key.channel}: {event.id}"
        match outcome:
            case Recording():
                promise(fact is not None, f"{where} is acknowledged and not in the log")
                assert fact is not None
                promise(outcome.seq == fact.seq, f"{where} is {fact.seq}, acknowledged as {outcome.seq}")
                promise(outcome.at_us == fact.at_us, f"{where} is acknowledged with another time")
                promise(_says(fact, event), f"{where} is acknowledged and says something else")
                promise(fact.void is None, f"{where} is acknowledged and void")
                if attempt.stored:
                    promise(not outcome.duplicate, f"{where} is called a duplicate of itself")
                elif outcome.duplicate:
                    self._found(fact)
                if not outcome.duplicate and command_time_ms(event.id) < now_us() // 1000 - 60_000:
                    strike("old id recorded")
            case Conflict():
                promise(fact is not None and not _says(fact, event), f"{where} is no conflict")
                strike("conflict told")
            case Forbidden():
                promise(fact is not None and fact.void and _says(fact, event), f"{where} is not void")
            case Unavailable():
                promise(not attempt.stored, f"{where} was not recorded, and is")
                attempt.is_refused = True
                strike("command refused")
            case ClockSkew():
                promise(command_time_ms(event.id) > now_us() // 1000, f"{where} is not from the future")
                attempt.is_refused = True
                strike("id from the future refused")
            case OutcomeUnknown():
                strike("outcome unknown")
            case _:
                promise(False, f"{where} is answered with {outcome!r}")
        attempt.is_answered = not isinstance(outcome, Unavailable | OutcomeUnknown)

    def _found(self, fact: Fact) -> None:
        strike("duplicate told")
        if fact.stream_seq < self.log.floor:
            strike("duplicate of what only Parquet holds")

    # ------------------------------------------------------------ the end

    def settle(self, edges: Sequence[Edge], drain: Callable[[], None]) -> None:
        """Every command once more, long after: it has its number, whatever became of it before."""
        Current.now_s += AFTER_WINDOW_S
        left = self.orders
        for number in range(ROUNDS_MAX):
            edge = edges[number % len(edges)]
            attempts = [self._attempt(order.key, order.event) for order in left]
            for key in self.truths:
                own = [attempt for attempt in attempts if attempt.key == key]
                if own:
                    self._hand_over(edge, own)
            drain()
            left = [it for it, attempt in zip(left, attempts, strict=True) if not attempt.is_answered]
            if not left:
                return
            Current.now_s += 10.0  # what refuses for a while does so no more
        promise(False, f"{left[0].event.id} is never answered")


def command_id(at_ms: int, number: int) -> CommandId:
    """The id of a command made then."""
    time = f"{at_ms:012x}"
    return CommandId(f"{time[:8]}-{time[8:]}-7000-8000-{number:012x}")


def _says(fact: Fact, event: e.KnownEvent) -> bool:
    return fingerprint(fact.event) == fingerprint(event)


def _failed(error: ParleyError) -> Future[Recording]:
    future: Future[Recording] = Future()
    future.set_exception(error)
    return future
