"""Clients that come all at once, as far as asked, and leave together: `python -m tests.bench.connects_crowd`.

    {"guests": [[token, channels], …]}              who they are; nobody comes yet
    {"come": url, "goal": Goal, "within_s"}         all connect at once; how it went, once all are there
    {"leave": true}                                 all hang up; cursors stay

They are the clients of a storm, who count as resumed when all their cursors are answered in full. Times are
seconds of the monotonic clock.
"""

from __future__ import annotations

from typing import Literal

from tests.bench.child import obeying
from tests.bench.storm_client import Address, StormClient, now
from tests.bench.storm_crowd import StormCrowd, address_of

Goal = Literal["tcp", "upgrade", "hello"]
GOALS: tuple[Goal, ...] = ("tcp", "upgrade", "hello")
"""Connected; answered 101; welcomed, with all channels listed and all cursors answered."""


class Guest(StormClient):
    """Goes only so far, and is ready there."""

    def __init__(self, token: str, channels: int) -> None:
        super().__init__(token, channels)
        self.goal: Goal = "hello"

    def connected(self, address: Address) -> None:
        """Ask for the upgrade, if that is wanted. Raises OSError."""
        if self.goal == "tcp":
            self.ready_s = now()
        else:
            super().connected(address)

    def _say_hello(self) -> None:
        if self.goal == "upgrade":
            self.ready_s = now()
        else:
            super()._say_hello()

    def leave(self) -> None:
        """Hang up without a word."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.ready_s = 0.0
        self.count_anew()


class ConnectsCrowd(StormCrowd):
    """The guests."""

    def __init__(self) -> None:
        super().__init__()
        self.guests: list[Guest] = []
        self._there = 0
        """So many, from the first on, are known to have come."""

    def obey(self, question: dict[str, object]) -> None:
        """Begin what is asked."""
        if "guests" in question:
            guests = question["guests"]
            assert isinstance(guests, list)
            self.guests = [Guest(token, channels) for token, channels in guests]
            self.clients = list(self.guests)
            self._waiting = lambda _: {}
        elif "come" in question:
            self._come(question)
        else:
            self._leave()
            self._waiting = lambda _: {}

    def _come(self, question: dict[str, object]) -> None:
        (goal,) = (goal for goal in GOALS if goal == question["goal"])
        for guest in self.guests:
            guest.goal = goal
        self._address = address_of(str(question["come"]))
        began_s = now()
        until_s = began_s + float(str(question["within_s"]))
        self._there = 0
        self._due = [(began_s, number) for number in range(len(self.guests))]
        self._waiting = lambda now_s: (
            self._record() | {"began_s": began_s} if now_s > until_s or self._all_there() else None
        )

    def _leave(self) -> None:
        self._due.clear()
        self._on_socket.clear()  # closing takes them out of the poll set
        for guest in self.guests:
            guest.leave()

    def _all_there(self) -> bool:
        guests = self.guests
        while self._there < len(guests) and guests[self._there].ready_s:
            self._there += 1
        return self._there == len(guests)


if __name__ == "__main__":
    obeying(ConnectsCrowd())
