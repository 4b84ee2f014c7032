"""An archive's files in a process without key and network: it asks the archiver for pieces, over sockets.

A file has a number and a size, and is called `parley://<number>`. A request is a number, an offset and a
length, an answer is a letter, a length and the bytes. DuckDB reads a few kilobytes here and there of each row
group; so a piece reaches ahead, and what lies in it is not asked for again by the same reader.
"""

from __future__ import annotations

import io
import queue
import socket
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

SCHEME = "parley"
REQUEST = struct.Struct("<IQI")
ANSWER = struct.Struct("<cI")
HERE, REFUSED, FAILED = b"H", b"R", b"F"

PIECE_BYTES_MAX = 4 * 1024**2
AHEAD_BYTES = 64 * 1024
FOOTER_BYTES = 256 * 1024
"""How much of a file's end is asked for with its footer: that of a million events takes some 180 KB."""

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


class File(io.RawIOBase):
    """One reader of a file: it has what it asked for last."""

    def __init__(self, links: Links, number: int, size: int) -> None:
        self._links = links
        self._number = number
        self._size = size
        self._at = 0
        self._first = 0
        self._window = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; nothing is asked yet."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """So much from there on, less only at the end. Raises OSError."""
        rest = max(0, self._size - self._at)
        wanted = rest if size is None or size < 0 else min(size, rest)
        last = self._at + wanted
        if not (self._first <= self._at and last <= self._first + len(self._window)):
            if wanted >= AHEAD_BYTES:
                self._at = last
                return self._pieces(last - wanted, wanted)
            self._fill(wanted)
        found = self._window[self._at - self._first : last - self._first]
        self._at = last
        return found

    def _fill(self, wanted: int) -> None:
        self._first = min(self._at, max(0, self._size - FOOTER_BYTES))
        if self._at < self._size - FOOTER_BYTES:
            self._window = self._pieces(self._first, min(max(wanted, AHEAD_BYTES), self._size - self._first))
        else:
            self._window = self._pieces(self._first, self._size - self._first)

    def _pieces(self, first: int, length: int) -> bytes:
        return b"".join(
            self._links.read(self._number, at, min(PIECE_BYTES_MAX, first + length - at))
            for at in range(first, first + length, PIECE_BYTES_MAX)
        )


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
        return File(self._links, int(path.rpartition("/")[2]), size)

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
