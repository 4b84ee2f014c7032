"""Parts of files: in a bucket each takes a request, so they are asked for at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from archiver.footers import Place
from shared.archive_store import Store
from shared.seekable import Seekable

WORKERS = 16
"""Requests of a process to a bucket at once, for pages."""


class Piece(NamedTuple):
    """A part of a file of a partition."""

    name: str
    place: Place


class Pieces:
    """Of all partitions of a process. May be used from any thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="far")

    def fetch(self, store: Store, pieces: Sequence[Piece]) -> list[bytes]:
        """These parts, in their order. Raises FileNotFoundError and OSError."""

        def read(piece: Piece) -> bytes:
            return store.piece(piece.name, *piece.place)

        at_once = store.is_far and len(pieces) > 1
        return list(self._pool.map(read, pieces) if at_once else map(read, pieces))

    def close(self) -> None:
        """Wait for what is on its way."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Parts(Seekable):
    """A file of which some parts are there, by their offsets."""

    def __init__(self, size: int, parts: Mapping[int, bytes]) -> None:
        super().__init__(size)
        self._parts = parts

    def piece(self, at: int, length: int) -> bytes:
        """So much from there on. Raises OSError if that is in no part."""
        for offset, content in self._parts.items():
            if offset <= at and at + length <= offset + len(content):
                return content[at - offset : at - offset + length]
        raise OSError(f"{length} bytes at {at} are of no part that was asked for")
