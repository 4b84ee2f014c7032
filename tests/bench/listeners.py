"""The load of a fan-out: thousands of listeners in one process and one poll set, `python -m` this.

It takes a JSON object a line and answers each with one:

    {"open": [[argument, …], …], "dialect", "port"}   connect a listener for each list; wait until all joined
    {"reach": number, "within_s"}                     wait until all have been sent this message

The same process, and so the same cost, for every kind of server. `Listeners` is the other side.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter

from tests.bench.child import STDIN, Child, child, obeying
from tests.bench.dialects import DIALECTS
from tests.bench.listener import Listener

HOST = "127.0.0.1"
JOINING_MAX = 100
OPEN_DEADLINE_S = 600.0
_TURN_S = 0.02
_READ_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reached:
    """When the last listener had the message (monotonic clock), who is behind, and what went wrong first."""

    at_ns: int
    behind: int
    fault: str


_REACHED = TypeAdapter(Reached)


class Listeners:
    """Listeners in a child process."""

    def __init__(self, process: Child) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process, whose CPU belongs to the load."""
        return self._process.pid

    async def open(self, port: int, dialect: str, arguments: Sequence[Sequence[str]]) -> None:
        """Connect them all. Raises RuntimeError if one of them cannot join."""
        question: dict[str, object] = {"open": arguments, "dialect": dialect, "port": port}
        answer = await self._process.ask(question, OPEN_DEADLINE_S)
        if answer["fault"]:
            raise RuntimeError(f"a listener could not join: {answer['fault']}")

    async def reach(self, number: int, within_s: float) -> Reached:
        """Wait until all have been sent the message, at most so long."""
        answer = await self._process.ask({"reach": number, "within_s": within_s}, within_s + 20.0)
        return _REACHED.validate_python(answer)


@contextlib.asynccontextmanager
async def listeners() -> AsyncIterator[Listeners]:
    """None yet; the process ends with the context."""
    async with child("tests.bench.listeners") as process:
        yield Listeners(process)


class Hall:
    """The sockets, and the question that waits for its answer."""

    def __init__(self) -> None:
        self._all: list[Listener] = []
        self._on_socket: dict[int, tuple[socket.socket, Listener]] = {}
        self._to_open: list[Listener] = []
        self._joining = 0
        self._port = 0
        self._target = self._behind = 0
        self._newest_ns = 0
        self._failure = ""
        self._poll = select.epoll()
        self._poll.register(STDIN, select.EPOLLIN)
        self._waiting: Callable[[], dict[str, object] | None] | None = None

    def obey(self, question: dict[str, object]) -> None:
        """Begin what is asked."""
        if "open" in question:
            arguments, make = question["open"], DIALECTS[str(question["dialect"])]
            assert isinstance(arguments, list)
            self._port = int(str(question["port"]))
            self._all = [Listener(make(*each)) for each in arguments]
            self._to_open = list(self._all)
            self._waiting = self._joined
        else:
            self._target = int(str(question["reach"]))
            self._behind = sum(listener.last < self._target for listener in self._all)
            until_ns = time.monotonic_ns() + int(float(str(question["within_s"])) * 1e9)
            self._waiting = lambda: self._reached(until_ns)

    def turn(self) -> None:
        """Read what can be read, and answer if that was the last thing it waited for."""
        while self._to_open and self._joining < JOINING_MAX:
            self._connect(self._to_open.pop())
        on_socket, target = self._on_socket, self._target
        for number, _ in self._poll.poll(_TURN_S):
            if number == STDIN:  # whoever calls this reads it
                continue
            connection, listener = on_socket[number]
            try:
                data = os.read(number, _READ_BYTES_MAX)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not listener.joined:
                self._join(connection, listener, data)
            elif data:
                before = listener.last
                if said := listener.heard(data):
                    connection.send(said)
                self._behind -= before < target <= listener.last
            else:
                self._end(connection, listener)
        self._newest_ns = time.monotonic_ns()
        if self._waiting is not None and (answer := self._waiting()) is not None:
            self._waiting = None
            os.write(1, orjson.dumps(answer) + b"\n")

    def _connect(self, listener: Listener) -> None:
        connection = socket.create_connection((HOST, self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.send(listener.request(HOST, self._port))
        connection.setblocking(False)
        self._on_socket[connection.fileno()] = connection, listener
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self._joining += 1

    def _join(self, connection: socket.socket, listener: Listener, data: bytes) -> None:
        if not data:
            self._end(connection, listener)
        elif answer := listener.heard(data):
            connection.send(answer)
        self._joining -= listener.joined
        self._failure = self._failure or listener.fault

    def _end(self, connection: socket.socket, listener: Listener) -> None:
        listener.ended()
        self._failure = self._failure or listener.fault
        del self._on_socket[connection.fileno()]
        connection.close()  # which takes it out of the poll set

    def _joined(self) -> dict[str, object] | None:
        done = not self._to_open and not self._joining
        return {"fault": self._failure} if done or self._failure else None

    def _reached(self, until_ns: int) -> dict[str, object] | None:
        if self._behind and self._newest_ns < until_ns and not self._failure:
            return None
        fault = next((listener.fault for listener in self._all if listener.fault), "")
        return {"at_ns": self._newest_ns, "behind": self._behind, "fault": fault}


if __name__ == "__main__":
    obeying(Hall())
