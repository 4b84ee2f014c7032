"""An archive's files in a process without key and network: it asks the archiver for pieces, over sockets.

A file has a number and a size, and is called `parley://<number>`. A request is a number, an offset and a
length, an answer is a letter, a length and the bytes. DuckDB reads a few kilobytes here and there of each row
group, and opens each several times; so a piece reaches ahead, and what lies in one is not asked for again.
"""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.seekable import Seekable

SCHEME = "parley"
REQUEST = struct.Struct("<IQI")
ANSWER = struct.Struct("<cI")
HERE, REFUSED, FAILED = b"H", b"R", b"F"

PIECE_BYTES_MAX = 4 * 1024**2
AHEAD_BYTES = 64 * 1024
FOOTER_BYTES = 256 * 1024
"""How much of a file's end is asked for with its footer: that of a million events takes some 180 KB."""

WINDOWS_BYTES_MAX = 64 * 1024**2

_MADE = datetime(2000, 1, 1, tzinfo=UTC)


def address(number: int) -> str:
    """What DuckDB calls a file."""
    return f"{SCHEME}://{number}"


class Links:
    """Sockets to the archiver; each carries one question at a time."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        for descriptor in descriptors:
            self._free.put(socket.socket(fileno=descriptor))
        self.failed = False

    def read(self, number: int, offset: int, length: int) -> bytes:
        """A piece of a file. Raises OSError."""
        link = self._free.get()
        try:
            link.sendall(REQUEST.pack(number, offset, length))
            kind, size = ANSWER.unpack(_exactly(link, ANSWER.size))
            body = _exactly(link, size)
        finally:
            self._free.put(link)
        if kind == REFUSED:
            raise PermissionError(f"no such piece: {number}, {offset}, {length}")
        if kind != HERE or len(body) != length:
            self.failed = True
            raise OSError("a file of the archive could not be read")
        return body


class Windows:
    """What was asked for ahead, of all files, for all readers; what was asked for first goes first."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._firsts: dict[int, list[int]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, number: int, size: int, at: int, wanted: int) -> bytes:
        """So much of a file of this size, which has it. Raises OSError."""
        if (found := self._found(number, at, wanted)) is not None:
            return found
        if wanted >= AHEAD_BYTES:
            return self._pieces(number, at, wanted)
        tail = max(0, size - FOOTER_BYTES)
        first, end = (tail, size) if at >= tail else (at, min(size, at + AHEAD_BYTES))
        window = self._pieces(number, first, end - first)
        self._keep(number, first, window)
        return window[at - first : at - first + wanted]

    def _found(self, number: int, at: int, wanted: int) -> bytes | None:
        with self._lock:
            for first in self._firsts.get(number, ()):
                window = self._kept[number, first]
                if first <= at and at + wanted <= first + len(window):
                    return window[at - first : at - first + wanted]
        return None

    def _keep(self, number: int, first: int, window: bytes) -> None:
        with self._lock:
            if (number, first) in self._kept:  # another reader was quicker
                return
            self._kept[number, first] = window
            self._firsts.setdefault(number, []).append(first)
            self._bytes += len(window)
            while self._bytes > WINDOWS_BYTES_MAX:
                (old, old_first), gone = self._kept.popitem(last=False)
                self._firsts[old].remove(old_first)
                self._bytes -= len(gone)

    def _pieces(self, number: int, first: int, length: int) -> bytes:
        return b"".join(
            self._links.read(number, at, min(PIECE_BYTES_MAX, first + length - at))
            for at in range(first, first + length, PIECE_BYTES_MAX)
        )


class File(Seekable):
    """One reader of a file."""

    def __init__(self, windows: Windows, number: int, size: int) -> None:
        super().__init__(size)
        self._windows = windows
        self._number = number

    def piece(self, at: int, length: int) -> bytes:
        """So much from there on. Raises OSError."""
        return self._windows.read(self._number, self._size, at, length)


if TYPE_CHECKING:
    from typing import Protocol

    class Base(Protocol):
        """What fsspec's class is to us."""
else:
    from fsspec import AbstractFileSystem as Base  # DuckDB takes no other


class Files(Base):
    """The files of a query, for `duckdb.register_filesystem`."""

    protocol = SCHEME
    cachable = False

    def __init__(self, links: Links, sizes: Sequence[int]) -> None:
        super().__init__()
        self._links = links
        self._windows = Windows(links)
        self._sizes = {address(number): size for number, size in enumerate(sizes)}

    @property
    def failed(self) -> bool:
        """Whether the archiver could not read something."""
        return self._links.failed

    def open(self, path: str, mode: str = "rb", **_: Any) -> File:
        """A new reader. Raises PermissionError for any other mode, FileNotFoundError."""
        if mode != "rb":
            raise PermissionError("the archive is only read here")
        size = self.size(path)
        return File(self._windows, int(path.rpartition("/")[2]), size)

    def size(self, path: str) -> int:
        """In bytes. Raises FileNotFoundError."""
        try:
            return self._sizes[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it is one of them."""
        return path in self._sizes

    def isfile(self, path: str) -> bool:
        """The same: there are no folders."""
        return path in self._sizes

    def glob(self, path: str, **_: Any) -> list[str]:
        """The file of this name: patterns find nothing."""
        return [path] if path in self._sizes else []

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        """Never: a name is written once."""
        return _MADE


def _exactly(link: socket.socket, size: int) -> bytes:
    found = bytearray(size)
    view = memoryview(found)
    while view:
        taken = link.recv_into(view)
        if not taken:
            raise OSError("the archiver is gone")
        view = view[taken:]
    return bytes(found)
