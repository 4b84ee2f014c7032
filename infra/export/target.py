"""The file that an export becomes: whole or not there, and never another one's place by accident."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from shared.errors import BadRequest, Conflict


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[Path]:
    """A temporary file beside `path` that becomes it when the block ends well, and is removed if not.

    Raises `Conflict` if something is there already, unless `force`; `BadRequest` where nothing can be
    written.
    """
    _refuse(path, force=force)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        _refuse(path, force=force)
        temporary.replace(path)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _refuse(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise BadRequest(f"{path} is a directory: name a file")
    if path.exists() and not force:
        raise Conflict(f"{path} exists: --force replaces it")
