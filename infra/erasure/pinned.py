"""Reading an archive whose files are replaced meanwhile: then it is pinned anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import duckdb

from shared.errors import Unavailable

TRIES_MAX = 20
PAUSE_S = 0.25

T = TypeVar("T")


def whole(read: Callable[[], T]) -> T:
    """What `read` gives, once no file vanishes under it. Raises `Unavailable` if one always does."""
    for _ in range(TRIES_MAX):
        try:
            return read()
        except duckdb.IOException as error:
            refused = error
            time.sleep(PAUSE_S)
    raise Unavailable(f"the archive changes faster than it can be read: {refused}")
