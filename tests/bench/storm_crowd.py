"""Thousands of storm clients in one process and one poll set: `python -m tests.bench.storm_crowd`.

    {"open": [[token, channels], …], "url", "per_s"}  connect so many a second; wait until all are ready
    {"flee_to": url}                                  from now on, who is cut off comes back there
    {"resumed": seconds}                              wait until all are back, at most so long; the record
    {"reach": {channel: seq}, "within_s"}             wait until everybody has read so far in each channel

It reads while it waits for questions. Times are seconds of the monotonic clock.
"""

from __future__ import annotations

import heapq
import math
import os
import select
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel

from tests.bench.child import obeying
from tests.bench.storm_client import Address, StormClient, now

_TURN_S = 0.02


class Record(BaseModel):
    """How it went for all of them, as the crowd tells it; `ready_s` ascending."""

    ready_s: list[float]
    refused: int
    losses: int
    replayed: int
    gone: list[str]
    breaches: list[str]


class StormCrowd:
    """The clients, the poll set they share, and the question that waits for its answer."""

    def __init__(self) -> None:
        self.clients: list[StormClient] = []
        self._on_socket: dict[int, int] = {}
        """Which client, by its descriptor."""
        self._due: list[tuple[float, int]] = []
        self._address: Address = ("", 0)
        self._losses_due = 0
        self._poll = select.epoll()
        self._waiting: Callable[[float], dict[str, object] | None] | None = None

    def turn(self) -> None:
        """What can be read or is due now, and the answer if that was the last thing it waited for."""
        for descriptor, events in self._poll.poll(_TURN_S):
            number = self._on_socket.get(descriptor)
            if number is not None:
                self._serve(descriptor, number, events)
        now_s = now()
        while self._due and self._due[0][0] <= now_s:
            self._connect(heapq.heappop(self._due)[1])
        if self._waiting is not None and (answer := self._waiting(now_s)) is not None:
            self._waiting = None
            os.write(1, orjson.dumps(answer) + b"\n")

    def obey(self, question: dict[str, object]) -> None:
        """Begin what is asked."""
        if "open" in question:
            self._open(question)
        elif "flee_to" in question:
            self._address = address_of(str(question["flee_to"]))
            self._losses_due = 1
            for client in self.clients:
                client.count_anew()
            self._waiting = lambda _: {}
        elif "resumed" in question:
            until_s = now() + float(str(question["resumed"]))
            self._waiting = lambda now_s: self._record() if now_s > until_s or self._all_back() else None
        else:
            until_s = now() + float(str(question["within_s"]))
            heads = question["reach"]
            assert isinstance(heads, dict)
            self._waiting = lambda now_s: self._reached(heads, last=now_s > until_s)

    def _open(self, question: dict[str, object]) -> None:
        members = question["open"]
        assert isinstance(members, list)
        self.clients = [StormClient(token, channels) for token, channels in members]
        self._address = address_of(str(question["url"]))
        self._due = [
            (now() + number / float(str(question["per_s"])), number) for number in range(len(members))
        ]
        self._waiting = lambda _: self._record() if self._all_back() else None

    def _all_back(self) -> bool:
        due = self._losses_due
        return all((client.ready_s and client.losses >= due) or client.gone for client in self.clients)

    def _record(self) -> dict[str, object]:
        clients = self.clients
        return {
            "ready_s": sorted(client.ready_s for client in clients if client.ready_s),
            "refused": sum(client.refused for client in clients),
            "losses": sum(client.losses for client in clients),
            "replayed": sum(client.replayed for client in clients),
            "gone": [client.gone for client in clients if client.gone],
            "breaches": [breach for client in clients for breach in client.breaches][:20],
        }

    def _reached(self, heads: dict[str, int], *, last: bool) -> dict[str, object] | None:
        behind = sum(seq < heads.get(c, 0) for client in self.clients for c, seq in client.last.items())
        return self._record() | {"behind": behind} if last or not behind else None

    def _connect(self, number: int) -> None:
        client = self.clients[number]
        try:
            opened = client.connect(self._address)
        except OSError:
            self._come_back(number, client.lost(now()))
            return
        self._on_socket[opened.fileno()] = number
        self._poll.register(opened.fileno(), select.EPOLLOUT | select.EPOLLIN)

    def _serve(self, descriptor: int, number: int, events: int) -> None:
        client = self.clients[number]
        back_s: float | None = None
        if not events & select.EPOLLOUT:
            back_s = client.heard(now())
        else:
            try:
                client.connected(self._address)
                self._poll.modify(descriptor, select.EPOLLIN)
            except OSError:
                back_s = client.lost(now())
        if back_s is not None:
            del self._on_socket[descriptor]  # closing has taken it out of the poll set
            self._come_back(number, back_s)

    def _come_back(self, number: int, at_s: float) -> None:
        if at_s < math.inf:
            heapq.heappush(self._due, (at_s, number))


def address_of(url: str) -> Address:
    """Where a URL leads; port 80 if it names none."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


if __name__ == "__main__":
    obeying(StormCrowd())
