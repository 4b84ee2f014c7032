"""Opens a file of chat lines, compressed or not, without reading it into memory."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

LINE_BYTES_MAX = 1_000_000


def read(path: Path, limit: int | None) -> Iterator[bytes]:
    """The first `limit` lines."""
    opener = gzip.open if path.suffix == ".gz" else Path.open
    with opener(path, "rb") as file, io.BufferedReader(file) as lines:
        yield from islice(iter(partial(lines.readline, LINE_BYTES_MAX), b""), limit)


def count(path: Path, limit: int | None) -> int:
    """How many lines `read` gives."""
    return sum(1 for _ in read(path, limit))


def name_of(path: Path) -> str:
    """The file's name without its endings: it names the channels and is part of every id."""
    return path.name.split(".", 1)[0] or "replay"
