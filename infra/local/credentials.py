"""The secrets of one installation: made at random when it first starts, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from infra.nats.permissions import USERS
from shared.errors import Misconfigured

_SECRET_BYTES = 32


class Credentials(BaseModel):
    """Passwords of the NATS users, of the routes between NATS servers, and the key that signs tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nats: dict[str, str] = Field(repr=False)
    cluster: str = Field(repr=False)
    jwt: str = Field(repr=False)


def load_or_create(path: Path) -> Credentials:
    """The credentials in `path`, made and written with mode 0600 if the file or a user's are missing.

    Raises `Misconfigured` if others may read the file.
    """
    if not path.exists():
        _write(path, _fresh())
    known = load(path)
    if missing := [user for user in USERS if user not in known.nats]:  # an installation older than the user
        more = {user: secrets.token_urlsafe(_SECRET_BYTES) for user in missing}
        _write(path, known.model_copy(update={"nats": known.nats | more}))
    return load(path)


def load(path: Path) -> Credentials:
    """The credentials in `path`; raises `Misconfigured` if it is missing or others may read it."""
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError as error:
        raise Misconfigured(f"{path} does not exist: run `parley up` there first, or name --data") from error
    if mode & 0o077:
        raise Misconfigured(f"{path} has mode {mode:o}: it holds secrets; run `chmod 600 {path}`")
    return Credentials.model_validate_json(path.read_bytes())


def _fresh() -> Credentials:
    return Credentials(
        nats={user: secrets.token_urlsafe(_SECRET_BYTES) for user in USERS},
        cluster=secrets.token_urlsafe(_SECRET_BYTES),
        jwt=secrets.token_urlsafe(_SECRET_BYTES),
    )


def _write(path: Path, credentials: Credentials) -> None:
    """Atomic, and never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(credentials.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
