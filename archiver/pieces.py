"""Parts of files: in a bucket each takes a request, so they are asked for at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared.archive_store import Store
from shared.seekable import Seekable

S = TypeVar("S")
T = TypeVar("T")

FAR_WORKERS = 16
"""Requests of a process to a bucket at once, for pages; what came is decoded by the same threads."""

NEAR_WORKERS = 2
"""Decoding is most of what is near, and takes a core. One page alone is read by two of them."""


class AtOnce:
    """Of all partitions of a process. May be used from any thread."""

    def __init__(self) -> None:
        self._far = ThreadPoolExecutor(FAR_WORKERS, thread_name_prefix="far")
        self._near = ThreadPoolExecutor(NEAR_WORKERS, thread_name_prefix="near")

    def each(self, store: Store, read: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """What is read of a store for each of these, in their order. Raises what `read` raises."""
        if len(items) == 1:
            return [read(items[0])]
        return list((self._far if store.is_far else self._near).map(read, items))

    def close(self) -> None:
        """Wait for what is on its way."""
        for pool in (self._far, self._near):
            pool.shutdown(wait=True, cancel_futures=True)


class Part(Seekable):
    """A file of which one part is there: `content`, from `offset` on."""

    def __init__(self, size: int, offset: int, content: bytes) -> None:
        super().__init__(size)
        self._offset = offset
        self._content = content

    def piece(self, at: int, length: int) -> bytes:
        """So much from there on. Raises OSError if it is not there."""
        start = at - self._offset
        if start < 0 or start + length > len(self._content):
            raise OSError(f"{length} bytes at {at} are not of the part that was asked for")
        return self._content[start : start + length]
