"""A file of which somebody else has the bytes: where a reader is in it, and how much is left."""

from __future__ import annotations

import io


class Seekable(io.RawIOBase):
    """Of a size that is known; `piece` gives so many bytes from there on, which it has. May raise OSError."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def piece(self, at: int, length: int) -> bytes:
        """These bytes."""
        raise NotImplementedError

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
        """So much from there on, less only at the end."""
        rest = max(0, self._size - self._at)
        wanted = rest if size is None or size < 0 else min(size, rest)
        found = self.piece(self._at, wanted) if wanted else b""
        self._at += wanted
        return found
