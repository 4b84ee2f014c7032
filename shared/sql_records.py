"""What edges and archivers say to one another about users' SQL."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.ids import UserId, WorkspaceId


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


SqlFormat = Literal["json", "csv", "arrow"]


class SqlRequest(_Record):
    """Run a user's query over what they may read now. Any archiver takes it."""

    workspace: WorkspaceId
    user: UserId
    query: str
    format: SqlFormat


class SqlOpened(_Record):
    """It runs: ask for its pieces at `archive.<at>.next`."""

    at: str
    query: str


class SqlNext(_Record):
    """The piece with this number, from 0 on. Asking for one lets go of those before it.

    The answer is `SQL_PIECE` and its bytes, or one of `SQL_END` (there is none any more) and `SQL_WAIT` (not
    yet: ask again), or a `Failure`.
    """

    query: str
    piece: int


SQL_PIECE, SQL_END, SQL_WAIT = b"D", b"Z", b"W"


class SqlClose(_Record):
    """Nobody wants the rest."""

    query: str
