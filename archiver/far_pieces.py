"""Parts of files in a bucket: each takes a request, so they are asked for at the same time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from archiver.footers import Place
from shared.archive_store import Store

WORKERS = 16
"""Requests of a process at once, for pages."""


class Piece(NamedTuple):
    """A part of a file of a partition."""

    name: str
    place: Place


class FarPieces:
    """Of all partitions of a process. May be used from any thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="far")

    def fetch(self, store: Store, pieces: Sequence[Piece]) -> list[bytes]:
        """These parts, in their order. Raises FileNotFoundError and OSError."""
        if len(pieces) == 1:
            return [store.piece(pieces[0].name, *pieces[0].place)]
        return list(self._pool.map(lambda piece: store.piece(piece.name, *piece.place), pieces))

    def close(self) -> None:
        """Wait for what is on its way."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Parts(io.RawIOBase):
    """A file of which some parts are there, by their offsets."""

    def __init__(self, size: int, parts: Mapping[int, bytes]) -> None:
        self._size = size
        self._parts = parts
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """So much from there on. Raises OSError if that is in no part."""
        assert size is not None
        for offset, content in self._parts.items():
            if offset <= self._at and self._at + size <= offset + len(content):
                found = content[self._at - offset : self._at - offset + size]
                self._at += size
                return found
        raise OSError(f"{size} bytes at {self._at} are of no part that was asked for")
