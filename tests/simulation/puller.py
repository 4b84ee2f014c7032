"""How sequencers and archivers follow the log: the real follower, over a consumer that does not care."""

from __future__ import annotations

from typing import cast

from shared.bus import Bus as RealBus
from shared.envelope import Message, StoredMessage
from shared.errors import LogRegressed
from shared.ids import StreamSeq
from shared.puller import Follower
from tests.simulation.streams import Log
from tests.simulation.turns import strike


class Pull:
    """A real follower, whose consumer loses, doubles and reorders what it sends."""

    def __init__(self, log: Log, start: int) -> None:
        self._log = log
        self._follower = Follower(cast(RealBus, None), "LOG_0", StreamSeq(start))
        self._sent = start - 1

    def take(self, how: int) -> list[StoredMessage]:
        """What one request brings; after a hole the consumer starts again at the last proven position.

        Raises `LogRegressed` if that has been trimmed.
        """
        follower = self._follower
        if follower._broken:
            follower._broken, self._sent = False, follower.position
        if self._log.floor > self._sent + 1:
            raise LogRegressed("what follows has been trimmed")
        messages = self._log.stored[self._sent : self._sent + 1 + how % 7]
        self._sent += len(messages)
        fate = how // 7 % 8
        if fate == 1 and messages:
            messages.pop(len(messages) // 2)
            strike("consumer lost a message")
        elif fate == 2 and messages:
            messages = [*messages, *messages[-2:]]
            strike("consumer doubled messages")
        elif fate == 3 and len(messages) > 1:
            messages.reverse()
            strike("consumer reordered messages")
        for stored in messages:
            reply = f"$JS.ACK.LOG_0.c.1.{stored.stream_seq}.1.{stored.at_us * 1000}.0"
            follower._receive(Message(stored.subject, stored.body, {}, reply))
        if not messages and how % 3 == 0:
            follower._break()  # it fell silent
        found = list(follower._buffer)
        follower._buffer.clear()
        return found
