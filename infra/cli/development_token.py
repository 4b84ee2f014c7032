"""Tokens for development, as commands mint them: with checked names, from the data directory's secret."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.cli.options import data_directory
from infra.local.tokens import TTL_S_DEFAULT, mint
from shared.ids import user_id, workspace_id


def checked_token(
    data: Path, user: str, workspace: str, scopes: Sequence[str], ttl_s: int = TTL_S_DEFAULT
) -> str:
    """A token for development, signed with the secret of the data directory.

    Raises `InvalidId` for names that every edge would refuse, `Misconfigured` before the first start.
    """
    names = user_id(user), workspace_id(workspace)
    secret = data_directory(data).credentials().jwt
    return mint(secret, names[0], workspace=names[1], scopes=scopes, ttl_s=ttl_s)
