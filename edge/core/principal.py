"""Who asks: what a verified token says about the caller."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ids import UserId, WorkspaceId

IMPORT = "import"
"""The scope that lets a token record events of other authors and times, in any channel of its workspace."""

ERASE = "erase"
"""The scope that lets a token erase messages for good, in any channel of its workspace."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A user of a workspace. `expires_s` is the token's end in Unix seconds, None if it has none."""

    user: UserId
    workspace: WorkspaceId
    scopes: frozenset[str] = frozenset()
    expires_s: float | None = None

    @property
    def may_import(self) -> bool:
        """Whether commands may carry `imported`."""
        return IMPORT in self.scopes

    @property
    def may_erase(self) -> bool:
        """Whether the command `erase` is theirs to give."""
        return ERASE in self.scopes
